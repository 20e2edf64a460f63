"""What the agents of a team have to work with beside their models: tools, and whom they ask before they use some of them."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massgen import prompts
from massgen.agents.tools import Approve, Tools
from massgen.approval import by_rule
from massgen.config import AgentConfig, Config, Where
from massgen.config.layers import from_file
from massgen.config.loading import Loaded
from massgen.config.tools import McpServer
from massgen.config.yaml_tree import Node, dotted
from massgen.errors import ConfigError, Problem
from massgen.planning import tools as planning_tools
from massgen.streams import line
from massgen.toolbox import Offered, Returned, Toolbox

if TYPE_CHECKING:
    from massgen.toolbox.functions import Function
    from massgen.toolbox.servers import Servers

TOOLLESS = ("local", "replay")
"""Embedded models are too small for tools, and who replays a session says what was said then."""
MAX_NOTE = 1_000
"""Characters of a note, which may be a server's own words."""
_RESERVED = frozenset(
    [name for name in prompts.TOOLS if "." not in name] + [each.name for each in planning_tools.TOOLS]
)


@asynccontextmanager
async def equipped(
    config: Config,
    ask: Approve,
    noted: Callable[[str], None],
    workspace: Callable[[str], Path],
    redact: Callable[[str], str] = str,
    loaded: Loaded | None = None,
) -> AsyncGenerator[Mapping[str, Tools]]:
    """The tools of each agent of `config` that has some, by its id. Their servers are started at their first use; leaving
    ends them. `ask` is whom an agent asks where the configuration says so; `noted` is told what users should know; `workspace`
    finds an agent's own folder; `redact` takes secrets out of what tools return: models are shown what is recorded; `loaded`
    is where `config` is from.

    Raises `ConfigError` for functions that cannot be loaded. Nothing of MCP is imported before a server is used."""
    named = config.named_agents
    users = {name: agent for name, agent in named.items() if agent.backend.type not in TOOLLESS and _has(config, agent)}
    if idle := [name for name, agent in named.items() if agent.backend.type == "local" and _missing(config, agent)]:
        noted(f"no tools and plans for {', '.join(idle)}: embedded models use none")
    if not users:
        yield {}
        return
    from massgen.toolbox.servers import Servers  # a run without tools is spared all this

    functions = _functions(config, users, loaded)
    approve = by_rule(config.tool_approval, ask)
    async with Servers(lambda note: noted(line(note, MAX_NOTE))) as servers:
        boxes = {
            name: _toolbox(config, agent, servers, functions, partial(workspace, name)) for name, agent in users.items()
        }
        yield {name: Tools(_Guarded(box, redact), approve) for name, box in boxes.items()}


def _has(config: Config, agent: AgentConfig) -> bool:
    return bool(config.servers(agent) or config.functions(agent))


def _missing(config: Config, agent: AgentConfig) -> bool:
    return _has(config, agent) or config.orchestrator.coordination.enable_agent_task_planning


def _toolbox(
    config: Config,
    agent: AgentConfig,
    servers: "Servers",
    functions: Mapping[str, "Function"],
    workspace: Callable[[], Path],
) -> Toolbox:
    from massgen.toolbox.agent import agent_toolbox

    return agent_toolbox(
        servers,
        {name: _at_work(each, workspace) for name, each in config.servers(agent).items()},
        [functions[source] for source in config.functions(agent)],
        allowed=[each for each in (agent.allowed_tools, agent.backend.allowed_tools) if each is not None],
        excluded=[*agent.exclude_tools, *agent.backend.exclude_tools],
        access=config.tool_access,
        reserved=_RESERVED,
    )


def _at_work(settings: McpServer, workspace: Callable[[], Path]) -> McpServer:
    """In the agent's own folder, if it is to work there."""
    if not settings.workspace:
        return settings
    folder = str(workspace())
    args = [each.replace("{workspace}", folder) for each in settings.args]
    return settings.model_copy(update={"cwd": folder, "args": args})


@dataclass(frozen=True, slots=True)
class _Guarded:
    """The tools in `inner`, and their results without secrets."""

    inner: Toolbox
    redact: Callable[[str], str]

    async def offered(self) -> Sequence[Offered]:
        return await self.inner.offered()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Returned:
        returned = await self.inner.call(name, arguments)
        return Returned(self.redact(returned.content), returned.is_error)


def _functions(config: Config, users: Mapping[str, AgentConfig], loaded: Loaded | None) -> Mapping[str, "Function"]:
    """Each function that somebody uses, loaded once, by how the configuration names it."""
    found: dict[str, Function] = {}
    problems: list[Problem] = []
    for source in _each(config.functions(agent) for agent in users.values()):
        from massgen.toolbox.functions import load

        folder, _, name = source.rpartition("/")
        try:
            (found[source],) = load([name], Path(folder) if folder else None)
        except ConfigError as error:
            problems += [_placed(each.message, _place(config, source), loaded) for each in error.details]
    if problems:
        raise ConfigError(problems)
    return found


def _place(config: Config, source: str) -> Where:
    """Where `source` is named first."""
    lists: list[tuple[Where, list[str]]] = [
        (("agents", n, "tools"), each.tools) for n, each in enumerate(config.agents)
    ]
    return next(
        (*where, tools.index(source)) for where, tools in [(("tools",), config.tools), *lists] if source in tools
    )


def _placed(message: str, where: Where, loaded: Loaded | None) -> Problem:
    """The problem with its place in the file, if there is one, which is read again to find it."""
    try:
        node = from_file(Path(loaded.files[0])).resolved(loaded.profile) if loaded else Node(None)
        for step in where:
            node = node.items[step] if isinstance(step, int) else node.mapping[step]
    except (LookupError, ConfigError):
        return Problem(message, dotted(where))
    return node.problem(message)


def _each(every: Iterable[Sequence[str]]) -> list[str]:
    return [*dict.fromkeys(source for sources in every for source in sources)]
