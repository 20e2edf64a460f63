"""One MCP server of a team: started at its first use, started anew a bounded number of times after it is lost."""

import asyncio
import functools
import importlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from massgen.config.tools import McpServer
from massgen.toolbox import Returned
from massgen.toolbox.keeper import Keeper
from massgen.toolbox.results import Expired, Lost, failed

if TYPE_CHECKING:
    from mcp_types import Tool

    from massgen.toolbox.client import Connection

MAX_RESTARTS = 5
FORGIVEN_SECONDS = 600.0
"""A server that ran for so long may be restarted as often again."""


def pause(restart: int) -> float:
    """Seconds before the server is started for the `restart`th time anew: 0.5, 1, 2, 4, 8."""
    return 0.5 * 2 ** (restart - 1)


@functools.cache
def preload() -> threading.Thread:
    """Start importing mcp in a thread (the first time; returned), so that the first server finds it there."""
    thread = threading.Thread(target=_client, name="import-mcp", daemon=True)
    thread.start()
    return thread


@functools.cache
def _client() -> Any:
    return importlib.import_module("massgen.toolbox.client")


class Unusable(Exception):
    """The server cannot be used now, or not at all any more; why."""


class Server:
    """The server that `settings` describe, called `name` in errors. `pause`: as above; `clock`: in seconds."""

    def __init__(
        self,
        name: str,
        settings: McpServer,
        keeper: Keeper,
        *,
        pause: Callable[[int], float] = pause,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.settings = name, settings
        self._keeper, self._pause, self._clock = keeper, pause, clock
        self._connection: Connection | None = None
        self._starting: asyncio.Task[Connection] | None = None
        self._starts, self._began = 0, 0.0
        self._closed = self._older = False

    async def tools(self) -> "tuple[Sequence[Tool], Sequence[str]]":
        """Its tools as they are now, and what is wrong with others that it has. Raises `Unusable`."""
        connection = await self._connected()
        return await connection.tools(), tuple(connection.problems)

    async def call(self, tool: str, arguments: Mapping[str, Any], timeout: float) -> Returned:
        """What `tool` returns, within `timeout` seconds from its start. If the server is lost, this call says so; the next one
        starts it anew. If it had only forgotten the session, the call is made in a new one."""
        try:
            try:
                return await self._called(tool, arguments, timeout)
            except Expired:
                return await self._called(tool, arguments, timeout)
        except Unusable as error:
            return failed(str(error))
        except Lost as error:
            again = (
                "it is started anew when it is next used"
                if self._failures <= MAX_RESTARTS
                else "it is not started again"
            )
            return failed(
                f"the server {self.name!r} was lost during the call, which may have been carried out: {error}; {again}"
            )

    async def _called(self, tool: str, arguments: Mapping[str, Any], timeout: float) -> Returned:
        connection = await self._connected()
        if all(each.name != tool for each in await connection.tools()):
            return failed(f"the server {self.name!r} has no tool {tool[:80]!r} any longer")
        return await connection.call(tool, arguments, timeout)

    async def close(self) -> None:
        """End it, within 10 s."""
        self._closed = True
        if self._starting:
            self._starting.cancel()
            await asyncio.wait([self._starting], timeout=9)
        if self._connection:
            await self._connection.close()

    async def _connected(self) -> "Connection":
        """The running server; all who ask while it is being started share that start, whoever of them gives up."""
        if self._connection and not self._connection.lost:
            return self._connection
        if self._starting is None:
            if self._began and self._clock() - self._began > FORGIVEN_SECONDS:
                self._starts = 0
            if self._closed or self._failures > MAX_RESTARTS:
                raise Unusable(self._gone())
            self._starting = asyncio.create_task(self._start(), name=f"start-{self.name}")
            self._starting.add_done_callback(self._started)
        starting = self._starting
        try:
            return await asyncio.shield(starting)
        except Lost as error:
            raise Unusable(f"the server {self.name!r} cannot be started: {error}") from None
        except asyncio.CancelledError:
            if (asking := asyncio.current_task()) and asking.cancelling():
                raise
            raise Unusable(self._gone()) from None  # the start was cancelled, for the run is over

    @property
    def _failures(self) -> int:
        """Starts that came to a bad end, as the server is lost. That it forgot a session is none."""
        return max(0, self._starts - bool(self._connection and self._connection.expired))

    def _gone(self) -> str:
        if self._closed:
            return f"the server {self.name!r} has been closed, for the run is over"
        why = self._connection.lost if self._connection else ""
        return f"the server {self.name!r} failed {self._starts} times and is not started again; the last time: {why}"

    def _started(self, task: "asyncio.Task[Connection]") -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # seen: nobody may be waiting any longer

    async def _start(self) -> "Connection":
        preload()
        client = await asyncio.to_thread(_client)
        if self._connection:
            await self._connection.close()
        if failures := self._failures:
            await asyncio.sleep(max(0.0, self._pause(failures)))
        self._starts, self._began = failures + 1, 0.0
        connection = await self._opened(client)
        self._began = self._clock()
        return connection

    async def _opened(self, client: Any) -> "Connection":
        """If need be by the older protocol: some servers that speak it end at the question whether they speak the newer one,
        which comes before all else."""
        first: Connection = client.Connection(self.settings, self._keeper, self._pause, older=self._older)
        self._connection = first
        try:
            return await first.opened()
        except Lost:
            if self._older or not first.speechless:
                raise
        await first.close()
        second: Connection = client.Connection(self.settings, self._keeper, self._pause, older=True)
        self._connection = second
        await second.opened()
        self._older = True
        return second
