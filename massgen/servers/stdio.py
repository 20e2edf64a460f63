"""An MCP server on this process's stdin and stdout. Imports mcp.

Not mcp's own transport: that one takes in lines of any length, cannot be interrupted while it waits for one, and leaves what
was asked last unanswered when stdin ends.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, TypeAlias, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import Server
from mcp.shared.message import SessionMessage
from mcp_types import (
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from massgen.servers import MAX_MESSAGE

_LAST_SECONDS = 1.0
"""For the answers to what was asked when stdin ends. A request that was called off gets none."""

T = TypeVar("T")
Inward: TypeAlias = MemoryObjectSendStream[SessionMessage | Exception]


async def serve_stdio(server: Server[Any]) -> None:
    """Until stdin ends and what was asked is answered, or nobody reads stdout any more."""
    inward, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outward = anyio.create_memory_object_stream[SessionMessage](0)
    wire, task = _Wire(), asyncio.current_task()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.receive, inward, write.clone())
            tasks.start_soon(wire.send, outward, tasks.cancel_scope.cancel)
            await server.run(read, write, server.create_initialization_options())
            tasks.cancel_scope.cancel()
    except* anyio.BrokenResourceError:  # a message was on its way: mcp's streams break before their senders are told
        pass
    if task and task.cancelling():  # in the place of which mcp raises that error
        raise asyncio.CancelledError


class _Wire:
    """Takes in a line when the last one that was due is written: a client that does not read is not listened to."""

    def __init__(self) -> None:
        self._stdin = open(0, "rb", closefd=False)  # noqa: SIM115 - closing would wait for the thread that reads it
        self._due = 0
        self._written = asyncio.Event()
        self._written.set()

    async def receive(self, inward: Inward, refused: MemoryObjectSendStream[SessionMessage]) -> None:
        """Pass on every message until stdin ends; what is none is `refused`."""
        async with inward, refused:
            while line := await _left_behind(partial(_line, self._stdin)):
                message = _message(line)
                stream = refused if isinstance(message, JSONRPCError) and message.id is None else inward
                self._due += isinstance(message, JSONRPCRequest) or stream is refused
                await stream.send(SessionMessage(message))
                await self._written.wait()
            with anyio.move_on_after(_LAST_SECONDS):
                while self._due > 0:
                    self._written.clear()
                    await self._written.wait()

    async def send(self, outward: MemoryObjectReceiveStream[SessionMessage], lost: Callable[[], None]) -> None:
        async with outward:
            async for each in outward:
                self._written.clear()
                line = each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
                if not await _left_behind(partial(_write, line)):
                    lost()
                self._due -= isinstance(each.message, JSONRPCResponse | JSONRPCError)
                self._written.set()


def _line(stdin: BinaryIO) -> bytes:
    """The next line with a word in it; of one that is too long, a little more than is allowed. Empty at the end."""
    line = rest = stdin.readline(MAX_MESSAGE + 1)
    while line.isspace():
        line = rest = stdin.readline(MAX_MESSAGE + 1)
    while len(rest) > MAX_MESSAGE:
        rest = stdin.readline(MAX_MESSAGE + 1)
    return line


def _message(line: bytes) -> JSONRPCMessage:
    """The message in `line`; an error without an id where it is none."""
    why = f"it has more than {MAX_MESSAGE >> 20} MB"
    if len(line) <= MAX_MESSAGE:
        try:
            return jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            why = "it is no JSON-RPC message"
    told = f"This line was left out: {why}. massgen speaks MCP here, a message a line, with an MCP client."
    return JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=PARSE_ERROR, message=told))


def _write(data: bytes) -> bool:
    while data:
        data = data[os.write(1, data) :]
    return True


async def _left_behind(work: Callable[[], T]) -> T | None:
    """What `work` returns; None where the pipe is broken. It runs in a thread, which is left behind when this is cancelled:
    nothing else ends a wait for a pipe."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T | None] = loop.create_future()

    def run() -> None:
        result = None
        with suppress(OSError):
            result = work()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: done.done() or done.set_result(result))

    threading.Thread(target=run, name="massgen stdio", daemon=True).start()
    return await done
