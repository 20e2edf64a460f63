"""A program as an MCP server: its pipes as the streams that mcp's `Client` talks through. Imported with mcp, in a thread.

Not mcp's own transport: that one takes in lines of any length (and copies what it has at every chunk), logs to the
terminal, and leaves a server's children when the server itself ends in time.
"""

import asyncio
import logging
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias, TypeVar, cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter

from massgen.config.tools import McpServer
from massgen.toolbox.keeper import Keeper
from massgen.toolbox.results import MAX_RESULT, Lost

_CHUNK = 2**16
_EDGE = 4_096
"""Bytes of both ends of an overlong line that are looked at for the call that it answers."""
MAX_FLOOD = 16 * MAX_RESULT
"""Bytes of one line after which the server is given up."""
_GRACE = 2.0
"""Seconds for ending once stdin is closed, and again half as many after SIGTERM."""
_LAST_WORDS = 1.0
"""Seconds for what it wrote to stderr to come in, once it has ended. A descendant may hold that open for longer."""
_PARSE_ERROR = -32700
_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
_METHOD = re.compile(rb'\s*\{[^{}\[\]]*"method"\s*:')
"""At the top, before anything nested: a request or a notification of the server's own, not a reply."""
_ID_FIRST = re.compile(rb"\s*\{(?:\s*" + _VERSION + rb'\s*,)?\s*"id"\s*:\s*(\d{1,15})\s*,')
_ID_LAST = re.compile(rb',\s*"id"\s*:\s*(\d{1,15})\s*(?:,\s*' + _VERSION + rb"\s*)?\}\s*$")

Pipe = TypeVar("Pipe", asyncio.StreamReader, asyncio.StreamWriter)
Streams: TypeAlias = AsyncGenerator[
    tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
]

logging.getLogger("mcp").addHandler(logging.NullHandler())
logging.getLogger("mcp").propagate = False  # else its warnings are printed into the live view


class Tail:
    """The last lines that a program wrote to stderr, or to stdout without being asked."""

    def __init__(self, lines: int = 8, width: int = 300) -> None:
        self._lines, self._width = deque[str](maxlen=lines), width

    def add(self, data: bytes) -> None:
        lines = [line.strip()[: self._width] for line in data.decode(errors="replace").splitlines()]
        self._lines.extend(line for line in lines if line)

    def __str__(self) -> str:
        return " | ".join(self._lines)


class Lines:
    """Bytes cut into lines. One longer than `limit` is not kept: what comes of it is its two ends."""

    def __init__(self, limit: int = MAX_RESULT) -> None:
        self._limit, self._parts, self._size = limit, list[bytes](), 0

    @property
    def pending(self) -> int:
        """Bytes of the line that has not ended yet."""
        return self._size

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bool]]:
        """The lines that end in `chunk`, and whether each is whole."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._take(part)
            yield b"".join(self._parts), self._size <= self._limit
            self._parts, self._size = [], 0
        self._take(rest)

    def _take(self, part: bytes) -> None:
        self._parts.append(part)
        already, self._size = self._size > self._limit, self._size + len(part)
        if already:
            self._parts = [self._parts[0], b"".join(self._parts[1:])[-_EDGE:]]
        elif self._size > self._limit:
            whole = b"".join(self._parts)
            self._parts = [whole[:_EDGE] + b"\n", whole[-_EDGE:]]


@asynccontextmanager
async def program(
    settings: McpServer, tail: Tail, lost: Callable[[str], None], is_lost: Callable[[], bool], keeper: Keeper
) -> Streams:
    """The streams of a program, which runs as long as this context. `lost` is told why, once no more comes from it; one
    that `is_lost`, to whomever, gets no time to end by itself.

    Raises `OSError` if it cannot be started."""
    process = await _start(settings)
    told, silent = [lost], asyncio.Event()
    inward, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outward = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        await keeper.add(process.pid)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process, inward, tail, told, silent)
            tasks.start_soon(_write, process, outward)
            tasks.start_soon(_overhear, process, tail, silent)
            try:
                yield read, write
            finally:
                told.clear()  # that it ends now is no news
                with anyio.CancelScope(shield=True):
                    await _end(process, 0 if is_lost() else _GRACE)
                    await _until(silent)
                tasks.cancel_scope.cancel()
    finally:
        _signal(process, "SIGKILL")  # what it left behind; itself only if this was interrupted
        keeper.remove(process.pid)
        for stream in (inward, read, write, outward):
            stream.close()
        # A descendant in a session of its own may hold the pipes; nothing public closes our ends of them.
        cast("Any", process)._transport.close()


async def _start(settings: McpServer) -> Process:
    env = {**get_default_environment(), **{name: value.get_secret_value() for name, value in settings.env.items()}}
    command = shutil.which(settings.command, path=env.get("PATH"))
    if command is None:
        hint = "; arguments belong in `args`, one each" if " " in settings.command.strip() else ""
        raise FileNotFoundError(f"no program is called {settings.command[:100]!r}{hint}")
    if settings.cwd and not await anyio.Path(settings.cwd).is_dir():
        raise FileNotFoundError(f"its `cwd`, {settings.cwd[:100]!r}, is no folder")
    return await asyncio.create_subprocess_exec(
        *(command, *settings.args),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=env,
        cwd=settings.cwd or None,
        start_new_session=True,  # Ctrl-C at the terminal is massgen's alone, and its group can be ended as a whole
        limit=_CHUNK,
    )


async def _read(
    process: Process,
    inward: MemoryObjectSendStream[SessionMessage | Exception],
    tail: Tail,
    told: list[Callable[[str], None]],
    silent: asyncio.Event,
) -> None:
    async with inward:
        try:
            async for line, whole in _lines(_pipe(process.stdout)):
                if message := heard(line, whole):
                    with suppress(anyio.BrokenResourceError):  # the session is over: what comes is poured away
                        await inward.send(SessionMessage(message))
                else:
                    tail.add(line[:_EDGE])
            why = await _how_it_ended(process)
            await _until(silent)
        except Lost as error:
            why = str(error)
        for tell in told:
            tell(why)


async def _lines(stdout: asyncio.StreamReader) -> AsyncGenerator[tuple[bytes, bool]]:
    lines = Lines()
    while chunk := await stdout.read(_CHUNK):
        for line in lines.feed(chunk):
            yield line
        if lines.pending > MAX_FLOOD:
            raise Lost(f"it wrote a line of more than {MAX_FLOOD >> 20} MB")


async def _how_it_ended(process: Process) -> str:
    if not await _ended(process, 1):
        return "it closed its output"
    code = process.returncode or 0
    return f"it ended, exit code {code}" if code >= 0 else f"it was ended by signal {-code}"


async def _write(process: Process, outward: MemoryObjectReceiveStream[SessionMessage]) -> None:
    stdin = _pipe(process.stdin)
    async with outward:
        async for each in outward:
            if stdin.is_closing():
                continue  # reading tells how it ended; what it is still sent is poured away
            with suppress(BrokenPipeError, ConnectionResetError):
                stdin.write(each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await stdin.drain()


async def _overhear(process: Process, tail: Tail, silent: asyncio.Event) -> None:
    """What it says on stderr; it is `silent` once nothing more can come."""
    stderr = _pipe(process.stderr)
    while chunk := await stderr.read(_CHUNK):
        tail.add(chunk)
    silent.set()


async def _until(silent: asyncio.Event) -> None:
    with anyio.move_on_after(_LAST_WORDS):
        await silent.wait()


async def _end(process: Process, grace: float) -> None:
    """Close its stdin, as MCP has it, and wait; then SIGTERM, and wait; then SIGKILL, for its whole process group."""
    _pipe(process.stdin).close()
    if not await _ended(process, grace):
        _signal(process, "SIGTERM")
        await _ended(process, _GRACE / 2)
    _signal(process, "SIGKILL")
    await _ended(process, _GRACE)


async def _ended(process: Process, seconds: float) -> bool:
    """Whether it ended in time. Looked at anew every 10 ms: `wait` also waits for pipes that a descendant may hold."""
    for _ in range(int(seconds * 100)):
        if process.returncode is not None:
            return True
        await asyncio.sleep(0.01)
    return process.returncode is not None


def _signal(process: Process, name: str) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.Signals[name])


def _pipe(pipe: Pipe | None) -> Pipe:
    assert pipe is not None, "it was started with pipes"
    return pipe


def heard(line: bytes, whole: bool = True) -> JSONRPCMessage | None:
    """The message in a line; None: a word that is no message, such as a greeting on stdout.

    A reply that breaks the protocol, or is not `whole`, becomes an error of the call that it answers. Raises `Lost` where
    nobody can tell which call that is, for all would wait."""
    if not whole:
        refused = _refusal(line, f"it was larger than {MAX_RESULT >> 20} MB")
        if refused or _METHOD.match(line):
            return refused
        raise Lost(f"it wrote a line of more than {MAX_RESULT >> 20} MB that answers no call")
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return _refusal(line, "it broke the protocol: no JSON-RPC result")


def _refusal(line: bytes, why: str) -> JSONRPCError | None:
    """An error in the place of a reply, if one of the two ends of the line says which call that was to answer."""
    if _METHOD.match(line[:_EDGE]):
        return None
    found = _ID_FIRST.match(line[:_EDGE]) or _ID_LAST.search(line[-_EDGE:])
    error = ErrorData(code=_PARSE_ERROR, message=f"the server's reply was refused: {why}")
    return JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=error) if found else None
