"""A connection to one MCP server, held by a task of its own. Imports mcp (1.3 s), so it is itself imported in a thread."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import anyio
from mcp import Client, MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse, Tool, ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from massgen.config.tools import McpServer
from massgen.toolbox import Returned
from massgen.toolbox.http import Refusals, address
from massgen.toolbox.keeper import Keeper
from massgen.toolbox.results import Expired, Lost, failed, returned
from massgen.toolbox.schemas import mended
from massgen.toolbox.stdio import Tail, program

MAX_TOOLS = 2_000
MAX_PAGES = 100
_PROBE_SECONDS = (1.0, 5.0)
"""For showing that a server answers at all: as long as the call was given, within these."""
_LISTING_SECONDS = 10.0
"""For telling other tools than at the start, once they were announced."""
_LISTENING_SECONDS = 5.0
"""For agreeing to announce them."""
_LISTENED_SECONDS = 60.0
"""Announcements that ended sooner count as a failure; so many in a row are borne:"""
MAX_DEAF = 5
_CLOSING_SECONDS = {True: 8.0, False: 2.0}
"""By whether it is a program, which gets time to end before it is killed; one at an address is told that we leave."""
_PARTINGS = ("Connection closed", "Session terminated")
"""By their words: servers use the first one's code, -32000, for errors of their own."""


class _Mended:
    """The stream of a server's messages, in which a list of tools holds only those that can be offered."""

    def __init__(self, inner: Any, told: Callable[[str], None]) -> None:
        self._inner, self._told, self.heard = inner, told, False

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        item = await self._inner.receive()
        self.heard = True
        match item:
            case SessionMessage(message=JSONRPCResponse(result={"tools": [*_]} as listing) as reply):
                reply.result, problems = mended(listing)
                for problem in problems:
                    self._told(problem)
            case _:
                pass
        return item

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> "_Mended":
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> "_Mended":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Connection:
    """A server that runs, or ran: `lost` then says why it does not. Made by `opened`. If `older`, it is not asked whether it
    speaks the protocol of 2026; `pause` is between two tries to be told of other tools.

    mcp's client must be left by the task that entered it, so a task does both and waits in between; calls go straight
    to the client, from whichever task."""

    def __init__(
        self, settings: McpServer, keeper: Keeper, pause: Callable[[int], float], *, older: bool = False
    ) -> None:
        self.lost = ""
        self.speechless = False
        """Whether it is a program that ended before it had said a word."""
        self.expired = False
        """Whether it is lost because the server forgot this session, in which it had served."""
        self.problems: dict[str, None] = {}
        """What is wrong with its tools."""
        self._tools: tuple[Tool, ...] = ()
        self._outdated, self._listing = False, asyncio.Lock()
        self._settings, self._keeper, self._pause, self._older = settings, keeper, pause, older
        self._tail, self._refusals, self._served = Tail(), Refusals(), False
        self._over = asyncio.Event()
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(), name=f"mcp-{settings.command or settings.url}"[:60])

    async def opened(self) -> "Connection":
        """Itself, once it can be used. Raises `Lost`."""
        try:
            await asyncio.shield(self._ready)
        except asyncio.CancelledError:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """End the server, or take leave of it, within some seconds; harmless when called twice."""
        self._over.set()
        if not self._ready.done():
            self._task.cancel()
        try:
            await asyncio.wait([self._task], timeout=_CLOSING_SECONDS[self._settings.is_program])
        finally:  # in vain if it is over; else, also where this itself was cancelled, a program is killed
            self._task.cancel()
        await asyncio.wait([self._task], timeout=1)

    def give_up(self, why: str) -> None:
        """Call it lost, for what it does or does not do, and have it ended."""
        self.lost = self.lost or why
        self._over.set()

    async def tools(self) -> tuple[Tool, ...]:
        """Its tools; others than before if it has announced that. Those before, if it does not tell the others in time."""
        async with self._listing:
            if self._outdated and not self.lost:
                self._outdated = False  # what it announces from here on is asked for the next time
                try:
                    async with asyncio.timeout(_LISTING_SECONDS):
                        self._tools = await self._listed(self._ready.result())
                except Exception as error:  # noqa: BLE001 - whatever a server made mcp or pydantic raise
                    self._note(f"it announced other tools, and does not tell them: {_first(error)}")
        return self._tools

    async def call(self, tool: str, arguments: Mapping[str, Any], timeout: float) -> Returned:
        """What the tool returns, or what went wrong. Raises `Lost` if that is the server's end."""
        client = self._ready.result()
        try:
            async with asyncio.timeout(timeout):
                result = await client.call_tool(tool, dict(arguments))
        except TimeoutError:
            return await self._timed_out(client, timeout)
        except Exception as error:  # noqa: BLE001 - whatever a server made mcp, pydantic or jsonschema raise
            return self._told(error)
        self._served = True
        return returned(result.content, result.structured_content, bool(result.is_error))

    async def _timed_out(self, client: Client, timeout: float) -> Returned:
        """A server that answers something else is only slow at this."""
        least, most = _PROBE_SECONDS
        seconds = max(least, min(most, timeout))
        try:
            async with asyncio.timeout(seconds):
                await client.list_tools(cache_mode="bypass")
        except Exception:  # noqa: BLE001 - whichever way it is not well
            self.give_up(f"it did not answer within {timeout:g} s, nor anything else within {seconds:g} s")
            raise Lost(self.lost) from None
        return failed(f"no result within {timeout:g} s; the call was given up")

    def _told(self, error: Exception) -> Returned:
        if isinstance(error, MCPError):
            self._part(error.message)
        if self.lost:
            raise Lost(self.lost)
        match error:
            case MCPError(message=message):
                return failed(self._why(message))
            case ValidationError():
                return failed(f"the server's reply was refused: it broke the protocol: {_first(error)}")
            case _:
                return failed(f"the server's reply was refused: {str(error) or type(error).__name__}")

    def _part(self, message: str) -> None:
        """From a server that says that it is no longer there, or not for this session."""
        forgotten = self._refusals.forgotten(message)
        if forgotten or self._refusals.of_session(message):
            self.expired = self._served
        elif message not in _PARTINGS:
            return
        self.give_up(self._why(message))
        if forgotten:
            raise Expired(self.lost)

    def _why(self, message: str) -> str:
        return f"{message} ({self._refusals})" if str(self._refusals) else message

    async def _hold(self) -> None:
        try:
            with anyio.fail_after(self._settings.start_timeout) as limit:
                mode = "legacy" if self._older else "auto"
                client = Client(self._streams(), message_handler=self._heard, cache=None, mode=mode)
                async with client, self._announced(client):
                    self._tools = await self._listed(client)
                    limit.deadline = math.inf
                    self._ready.set_result(client)
                    await self._over.wait()
        except TimeoutError:
            self._fail(f"it did not start within {self._settings.start_timeout:g} s")
        except asyncio.CancelledError:
            self._fail("it was stopped")
            raise
        except Exception as error:  # noqa: BLE001 - whatever mcp's transports raise, often in groups
            self._fail(self._why(_first(error)) + self._refusals.advice)
        finally:
            self._fail("it was stopped")

    @asynccontextmanager
    async def _streams(self) -> AsyncGenerator[tuple[Any, Any]]:
        settings = self._settings

        def ended(why: str) -> None:
            self.speechless = not mended.heard
            self._fail(why)

        inner = (
            program(settings, self._tail, ended, lambda: bool(self.lost), self._keeper)
            if settings.is_program
            else address(settings, self._refusals)
        )
        async with inner as (read, write):
            mended = _Mended(read, self._note)
            yield mended, write

    @asynccontextmanager
    async def _announced(self, client: Client) -> AsyncGenerator[None]:
        """While a server of the protocol of 2026-07-28 announces other tools; older ones do so unasked."""
        able = client.server_capabilities.tools
        async with anyio.create_task_group() as tasks:
            if able and able.list_changed and client.protocol_version in MODERN_PROTOCOL_VERSIONS:
                asked = anyio.Event()
                tasks.start_soon(self._listen, client, asked)
                await asked.wait()
            yield
            tasks.cancel_scope.cancel()

    async def _listen(self, client: Client, asked: anyio.Event) -> None:
        """Announcements end with the stream that brings them: then they are asked for anew, and so are the tools."""
        failed = 0
        while failed <= MAX_DEAF:
            since = anyio.current_time()
            with suppress(SubscriptionLost, MCPError), anyio.move_on_after(_LISTENING_SECONDS) as limit:
                async with client.listen(tools_list_changed=True) as announcements:
                    limit.deadline, self._outdated = math.inf, self._outdated or asked.is_set()
                    asked.set()
                    async for _ in announcements:
                        pass
            asked.set()
            failed = 1 if anyio.current_time() - since > _LISTENED_SECONDS else failed + 1
            await anyio.sleep(max(0.0, self._pause(failed)))

    async def _heard(self, message: Any) -> None:
        self._outdated = self._outdated or isinstance(message, ToolListChangedNotification)

    async def _listed(self, client: Client) -> tuple[Tool, ...]:
        if client.server_capabilities.tools is None:
            return ()
        found, cursor = list[Tool](), None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor, cache_mode="bypass")
            found.extend(page.tools)
            cursor = page.next_cursor
            if cursor is None or len(found) > MAX_TOOLS:
                break
        if len(found) > MAX_TOOLS or cursor:
            self._note(f"it has more than {MAX_TOOLS} tools, or {MAX_PAGES} pages of them; the rest is left out")
        unique = {each.name: each for each in reversed(found)}
        return tuple(each for each in found if unique[each.name] is each)[:MAX_TOOLS]

    def _note(self, problem: str) -> None:
        self.problems[problem] = None

    def _fail(self, why: str) -> None:
        """The first reason counts, for the others follow from it."""
        tail = str(self._tail)
        self.lost = self.lost or (f"{why}; its last words: {tail}" if tail else why)
        self._over.set()
        if not self._ready.done():
            self._ready.set_exception(Lost(self.lost))
            self._ready.exception()  # seen: who asks for it gets it


def _first(error: BaseException) -> str:
    """What the innermost, first of the errors says."""
    if isinstance(error, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error) or type(error).__name__
