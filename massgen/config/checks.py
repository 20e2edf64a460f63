"""What is wrong with a configuration that each value alone does not show."""

import difflib
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from massgen import builtins
from massgen.config import MAX_AGENTS, MAX_ROLES, BackendConfig, BackendType, Where
from massgen.config.limit_rules import entries, limit_conflicts
from massgen.config.tools import meant, no_address, server_conflicts, tool_prefix
from massgen.prompts import ROLES

MAX_UNKNOWN = 20
"""Names of tools that are told to be none."""
_NAMES_ITS_MODEL = ("local", "ollama", "vllm", "sglang", "lmstudio", "replay")


def conflicts(data: Any) -> Iterator[tuple[Where, str]]:
    """What each value alone does not show. `data` may be of any shape."""
    yield from ((("rate_limits", *path), why) for path, why in limit_conflicts(entries(data).get("rate_limits")))
    yield from ((("mcp_servers", *path), why) for path, why in server_conflicts(entries(data).get("mcp_servers")))
    match data:
        case {"agents": [*every]}:
            agents = every[:MAX_AGENTS]
            yield from _same_names(agents)
            yield from _unknown_roles(data, agents)
            yield from itertools.islice(_unknown_tools(data, agents), MAX_UNKNOWN)
            for place, agent in enumerate(agents):
                yield from _server_conflicts(place, agent)
                yield from _idle_tools(place, agent)
                match agent:
                    case {"backend": {"type": str(kind)} as backend} if kind in get_args(BackendType):
                        yield from ((("agents", place, "backend", *path), why) for path, why in _gaps(kind, backend))
                    case _:
                        pass
        case _:
            pass


def _server_conflicts(place: int, agent: Any) -> Iterator[tuple[Where, str]]:
    backend = entries(agent).get("backend")
    for where, section in ((("agents", place), agent), (("agents", place, "backend"), backend)):
        for path, why in server_conflicts(entries(section).get("mcp_servers")):
            yield (*where, "mcp_servers", *path), why


def _idle_tools(place: int, agent: Any) -> Iterator[tuple[Where, str]]:
    """Tools of its own that an agent cannot use. The team's may be there: they are for the others."""
    match agent:
        case {"backend": {"type": "local"} as backend}:
            above: Where = ("agents", place)
            for where, section in ((above, agent), ((*above, "backend"), backend)):
                for key in [key for key in ("mcp_servers", "tools") if entries(section).get(key)]:
                    yield (*where, key), "embedded models use no tools; leave it out, or give the agent another backend"
        case _:
            pass


def _same_names(agents: list[Any]) -> Iterator[tuple[Where, str]]:
    seen: set[str] = set()
    for place, agent in enumerate(agents):
        match agent:
            case {"id": str(given)} if given:
                name = given
            case _:
                name = f"agent{place + 1}"
        if name in seen:
            yield ("agents", place, "id"), f"two agents are called {name[:60]!r}; give each its own id"
        seen.add(name)


def _unknown_roles(data: Mapping[str, Any], agents: list[Any]) -> Iterator[tuple[Where, str]]:
    own = [*cast("Mapping[str, Any]", roles)] if isinstance(roles := data.get("roles"), Mapping) else []
    known = (*ROLES, *own[:MAX_ROLES])
    for place, agent in enumerate(agents):
        match agent:
            case {"role": str(role)} if role and role not in known:
                yield ("agents", place, "role"), f"no role is called {role[:40]!r}; {_meant_role(role[:60], known)}"
            case _:
                pass


@functools.lru_cache
def _meant_role(role: str, known: tuple[str, ...]) -> str:
    """Cached: a hundred agents, each compared to a hundred roles, in twenty profiles, take seconds."""
    close = difflib.get_close_matches(role, known, 1)
    return f"did you mean {close[0][:40]!r}?" if close else f"massgen's: {', '.join(ROLES)}"


def _unknown_tools(data: Mapping[str, Any], agents: list[Any]) -> Iterator[tuple[Where, str]]:
    """Names of tools that no agent can have. Whether a server that is there has the tool is known once it runs."""
    every = [(agent, entries(entries(agent).get("backend"))) for agent in agents]
    if any(backend.get("type") == "replay" for _, backend in every):
        return  # their servers are not looked at
    had = _Had.by(data, *(section for pair in every for section in pair))
    classed = (each for each in entries(data.get("tool_access")) if had.some_like(each))
    yield from _unknown(((("tool_access", each), each) for each in classed), had)
    for place, (agent, backend) in enumerate(every):
        had = _Had.by(data, agent, backend)
        for where, section in ((("agents", place), agent), (("agents", place, "backend"), backend)):
            for key in ("allowed_tools", "exclude_tools"):
                listed = enumerate(_list(entries(section).get(key)))
                yield from _unknown((((*where, key, number), each) for number, each in listed), had)


def _unknown(names: Iterable[tuple[Where, Any]], had: "_Had") -> Iterator[tuple[Where, str]]:
    for where, name in names:
        if isinstance(name, str) and (why := had.lacks(name)):
            yield where, why


@dataclass(frozen=True, slots=True)
class _Had:
    """The functions and servers that some sections of a configuration name."""

    functions: list[str]
    servers: list[str]

    @classmethod
    def by(cls, *sections: Any) -> "_Had":
        tools = [each for section in sections for each in _list(entries(section).get("tools")) if isinstance(each, str)]
        given = [entries(section).get("mcp_servers") for section in sections]
        listed = [entries(each).get("name") for servers in given for each in _list(servers)]
        named = [name for servers in given for name in entries(servers)]
        servers = [name for name in (*named, *listed) if isinstance(name, str)]
        return cls([each.rpartition(":")[2] for each in tools], servers)

    def some_like(self, name: str) -> bool:
        """Whether there is any tool of this kind: a file that others extend may class what not all of them have."""
        return bool(self.servers if name.startswith("mcp__") else self.functions)

    def lacks(self, name: str) -> str:
        """Why no tool can have that name; empty if one can, or if it is a pattern."""
        if not name.startswith("mcp__"):
            if name in self.functions or _PATTERN.search(name):
                return ""
            how = meant(name, self.functions) or "; of a server's tools the name is mcp__SERVER__TOOL"
            return f"no function is called {name[:60]!r}{how}"
        prefixes = [tool_prefix(each) for each in self.servers]
        server = name.removeprefix("mcp__").partition("__")[0]
        if _PATTERN.search(server) or name.startswith(tuple(prefixes)):
            return ""
        return f"no server is called {server[:60]!r}{meant(server, self.servers)}"


_PATTERN = re.compile(r"[*?\[]|_[0-9a-f]{8}$")
"""A pattern, or a name with a hash, which takes the place of one that is not plain or not free."""


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _gaps(kind: str, backend: Mapping[str, Any]) -> Iterator[tuple[Where, str]]:
    url = backend.get("base_url", "")
    if why := no_address(url, "http://localhost:8000/v1"):
        yield ("base_url",), why
    yield from _recorded(kind, backend)
    if backend.keys() - BackendConfig.model_fields.keys():
        return  # what seems missing is probably there, misspelt
    if kind == "chatcompletion" and not url:
        yield ("base_url",), "missing; a chatcompletion backend needs it, e.g. http://localhost:8000/v1"
    if kind not in _NAMES_ITS_MODEL and not backend.get("model"):
        yield ("model",), f"missing; a backend of type {kind} needs it"


def _recorded(kind: str, backend: Mapping[str, Any]) -> Iterator[tuple[Where, str]]:
    """What is missing for a replay, and what nobody else has. The settings of the recorded model may stay: a profile that
    replays is laid over them, and they change nothing."""
    if kind == "replay":
        if not backend.get("session"):
            yield ("session",), "missing; a replay backend needs it: a session's id, name or path"
        return
    yield from (((key,), "only a backend of type replay has it") for key in ("session", "agent") if backend.get(key))
    yield from builtins.unsupported(kind, backend)
