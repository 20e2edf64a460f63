"""The tools of one agent, from its servers and functions."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

from massgen.backends import Tool
from massgen.config.tools import Access, McpServer, first_fit, meant, tool_prefix
from massgen.toolbox import Offered, Returned, Toolbox
from massgen.toolbox.functions import Function
from massgen.toolbox.names import arguments, fits, of_server, unlike, unmet
from massgen.toolbox.results import failed, sendable
from massgen.toolbox.schemas import MAX_TOLD
from massgen.toolbox.server import Server, Unusable
from massgen.toolbox.servers import Servers

MAX_DESCRIPTION = 20_000
"""Characters of a tool's description that models are shown."""
MANY_TOOLS = 118
"""OpenAI takes 128 in a request, of which two may be acts and eight the plan's. If there are more, that is noted."""
FUNCTION_SECONDS = 60.0


class Annotations(Protocol):
    """What a server says that its tool does."""

    @property
    def read_only_hint(self) -> bool | None: ...
    @property
    def destructive_hint(self) -> bool | None: ...


def classed(says: Annotations | None, unannotated: Access) -> Access:
    """What a tool does, as far as its server `says`.

    `destructiveHint` counts only where it is given: by the specification its default is true, and so every unannotated
    tool would be irreversible."""
    if says is None:
        return unannotated
    if says.read_only_hint:
        return "read"
    if says.destructive_hint:
        return "irreversible"
    return unannotated if says.read_only_hint is None and says.destructive_hint is None else "write"


def agent_toolbox(
    servers: Servers,
    mcp_servers: Mapping[str, McpServer],
    functions: Sequence[Function] = (),
    *,
    allowed: Sequence[Sequence[str]] = (),
    excluded: Sequence[str] = (),
    access: Mapping[str, Access] | None = None,
    reserved: Collection[str] = (),
    function_timeout: float = FUNCTION_SECONDS,
) -> Toolbox:
    """The tools of an agent: those of `mcp_servers`, by name, which run in `servers`, and `functions`.

    `allowed` (of each of these lists one has to fit), `excluded` and `access` (what tools do, whatever is said of them
    elsewhere) go by the names that models see, or by pattern. No tool gets one of the names `reserved`."""
    return _AgentToolbox(
        servers,
        [(servers.shared(name, each), each) for name, each in mcp_servers.items()],
        functions,
        lambda name: all(fits(each, name) for each in allowed) and not fits(excluded, name),
        [*dict.fromkeys([*chain(*allowed), *excluded, *(access or ())])],
        access or {},
        frozenset(reserved),
        function_timeout,
    )


class _AgentToolbox:
    def __init__(
        self,
        team: Servers,
        servers: Sequence[tuple[Server, McpServer]],
        functions: Sequence[Function],
        wanted: Callable[[str], bool],
        named: Sequence[str],
        access: Mapping[str, Access],
        reserved: frozenset[str],
        timeout: float,
    ) -> None:
        self._team, self._servers, self._functions = team, servers, functions
        self._wanted, self._named, self._access = wanted, named, access
        self._reserved, self._timeout = reserved, timeout
        self._checked: dict[str, Sequence[Any]] = {}
        self._calls: dict[str, Callable[[Mapping[str, Any]], Any]] = {}

    async def offered(self) -> Sequence[Offered]:
        """Functions first, then servers in the order of the configuration, each server's tools in its own."""
        listings = await asyncio.gather(*(self._listing(server) for server, _ in self._servers))
        self._calls, taken = {}, set(self._reserved)
        found = [each for function in self._functions if (each := self._function(function, taken))]
        for (server, settings), tools in zip(self._servers, listings, strict=True):
            self._misspelt(server, settings, tools)
            found.extend(each for tool in tools if (each := self._tool(server, settings, tool, taken)))
        if len(found) > MANY_TOOLS:
            self._team.note(
                f"an agent is offered {len(found)} tools; some providers refuse more than 128, acts and plan included: name "
                "those that it needs in its `allowed_tools`"
            )
        return found

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Returned:
        use = self._calls.get(name)
        return await use(sendable(arguments)) if use else failed(f"no tool is called {name[:80]!r}")

    async def _listing(self, server: Server) -> Sequence[Any]:
        try:
            tools, problems = await server.tools()
        except Unusable as error:
            self._team.note(f"{error}; its tools are left out")
            return ()
        for problem in problems:
            self._team.note(f"the server {server.name!r}: {problem}")
        return tools

    def _function(self, function: Function, taken: set[str]) -> Offered | None:
        name = unlike(function.tool.name, function.source, taken)
        taken.add(name)
        if not self._wanted(name):
            return None
        parameters, own = arguments(function.tool.parameters)
        self._calls[name] = lambda given: function.call(_called(given, own), self._timeout)
        tool = Tool(name, function.tool.description, parameters)
        return Offered(tool, first_fit(self._access, name) or function.access)

    def _tool(self, server: Server, settings: McpServer, tool: Any, taken: set[str]) -> Offered | None:
        name = of_server(server.name, tool.name, taken)
        taken.add(name)
        allowed = settings.allowed_tools is None or fits(settings.allowed_tools, tool.name, name)
        if not allowed or fits(settings.exclude_tools, tool.name, name) or not self._wanted(name):
            return None
        parameters, own = arguments(tool.input_schema)
        timeout = settings.timeout_of(tool.name)
        self._calls[name] = lambda given: server.call(tool.name, _called(given, own), timeout)
        does = (
            first_fit(self._access, name)
            or first_fit(settings.access, tool.name, name)
            or classed(tool.annotations, settings.unannotated)
        )
        description = (tool.description or tool.title or "")[:MAX_DESCRIPTION]
        return Offered(Tool(name, description, parameters), does, settings.workspace and does == "write")

    def _misspelt(self, server: Server, settings: McpServer, tools: Sequence[Any]) -> None:
        """Note the names in the configuration that are none of the server's tools, though they should be."""
        if not tools or self._checked.get(server.name) is tools:
            return
        self._checked[server.name] = tools
        prefix, short = tool_prefix(server.name), [tool.name for tool in tools]
        full = [of_server(server.name, name) for name in short]
        own = [*(settings.allowed_tools or ()), *settings.exclude_tools, *settings.access, *settings.tool_timeouts]
        agents = [each for each in self._named if each.startswith(prefix)]
        for each in [*unmet(own, [*short, *full]), *unmet(agents, full)][:MAX_TOLD]:
            bare = each.removeprefix(prefix)
            why = meant(bare, short, "" if bare == each else prefix)
            self._team.note(f"the server {server.name!r} has no tool {each[:60]!r}, which the configuration names{why}")


def _called(given: Mapping[str, Any], own: Mapping[str, str]) -> Mapping[str, Any]:
    """What is `given`, by the tool's own names."""
    return {own.get(key, key): value for key, value in given.items()}
