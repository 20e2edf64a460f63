"""The MCP servers of a team: each started once, at its first use, for all agents that configure it alike."""

import asyncio
import time
from collections.abc import Callable

from massgen.config.tools import McpServer
from massgen.toolbox.keeper import Keeper
from massgen.toolbox.server import Server, pause


class Servers:
    """Servers that run as long as this context, at most. None is started before it is used.

    `noted` is told, once each, what users should know: a server that cannot be started, a tool that is left out. The words
    may be a server's own: redact them."""

    def __init__(
        self,
        noted: Callable[[str], None] = lambda note: None,
        *,
        pause: Callable[[int], float] = pause,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._noted, self._pause, self._clock = noted, pause, clock
        self._told = set[str]()
        self._servers = list[Server]()
        self._keeper = Keeper()

    async def __aenter__(self) -> "Servers":
        return self

    async def __aexit__(self, *_: object) -> None:
        """All at once, within 10 s, by SIGKILL if need be."""
        try:
            await asyncio.gather(*(each.close() for each in self._servers))
        finally:
            await self._keeper.close()

    def shared(self, name: str, settings: McpServer) -> Server:
        """The server for these settings; it is there already if another agent's are the same."""
        for each in self._servers:
            if each.name == name and each.settings.same_server(settings):
                return each
        self._servers.append(Server(name, settings, self._keeper, pause=self._pause, clock=self._clock))
        return self._servers[-1]

    def note(self, what: str) -> None:
        """Tell it, unless it has been told."""
        if what not in self._told and len(self._told) < 1_000:
            self._told.add(what)
            self._noted(what)
