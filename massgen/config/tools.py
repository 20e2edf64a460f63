"""What a configuration may say of tools: MCP servers, and which of their tools agents may use for what."""

import difflib
import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    TypeAdapter,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MAX_SERVERS = 50
MAX_NAMED = 1_000
_COMPARED = 500
"""Names that a misspelt one is compared with."""

T = TypeVar("T")
Access: TypeAlias = Literal["read", "write", "irreversible"]
Path: TypeAlias = tuple[str | int, ...]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Names: TypeAlias = Annotated[list[str], Field(max_length=MAX_NAMED)]
Classes: TypeAlias = Annotated[dict[str, Access], Field(max_length=MAX_NAMED)]


class Section(BaseModel):
    """A mapping of the file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _transport(given: Any) -> Any:
    match given:
        case "sse":
            raise PydanticCustomError(
                "transport",
                "massgen does not speak the older HTTP+SSE; most of its servers have an address of streamable-http, too, which "
                "often ends in /mcp",
            )
        case "http":
            raise PydanticCustomError("transport", "did you mean 'streamable-http'?")
        case _:
            return given


class McpServer(Section):
    """A server of tools, which speaks the Model Context Protocol."""

    name: str = Field(default="", max_length=64)
    """In a list of servers: what it is called. Models see its tools as `mcp__NAME__TOOL`."""
    type: Annotated[Literal["stdio", "streamable-http"] | None, BeforeValidator(_transport)] = None
    """A program that massgen starts (`stdio`), or a server that is there (`streamable-http`). `null`: the one that `command` or `url` means."""
    command: str = ""
    """The program: its name, or its path, which has a `/` and is from this file's folder. No shell is involved: arguments belong in `args`."""
    args: Annotated[list[str], Field(max_length=MAX_NAMED)] = Field(default_factory=list[str])
    """Its arguments, one each."""
    env: dict[str, SecretStr] = Field(default_factory=dict[str, SecretStr])
    """Its variables, beside the few that every program gets (PATH, HOME, USER, SHELL, TERM, LOGNAME). No key of yours reaches it but those named here: `{MY_API_KEY: "${MY_API_KEY}"}`."""
    cwd: str = ""
    """The folder it works in, from this file's folder. Empty: the one massgen was started in."""
    workspace: bool = False
    """Each agent gets a server of its own, which works in the agent's own folder, `workspaces/AGENT` in the session's; `{workspace}` in `args` stands for that. What it writes, it may write before the vote, too."""
    url: str = ""
    """Where it listens, e.g. `http://localhost:8000/mcp`."""
    headers: dict[str, SecretStr] = Field(default_factory=dict[str, SecretStr])
    """What is sent with every request to `url`, e.g. `{Authorization: "Bearer ${TOKEN}"}`."""
    timeout: Seconds = 60
    """A call that takes longer is given up."""
    tool_timeouts: Annotated[dict[str, Seconds], Field(max_length=MAX_NAMED)] = Field(
        default_factory=dict[str, Seconds]
    )
    """Other times for single tools, by name or pattern, e.g. `{build_*: 600}`."""
    start_timeout: Seconds = 60
    """A start that takes longer, up to its list of tools, has failed."""
    allowed_tools: Names | None = None
    """The only tools that are offered, by their name at the server or as models see it, or by pattern (`read_*`). `null`: all."""
    exclude_tools: Names = Field(default_factory=list[str])
    """Tools that are not offered, in the same words. They outweigh `allowed_tools`."""
    access: Classes = Field(default_factory=dict[str, Access])
    """What tools do, whatever the server says of them: `read` changes nothing, `write` can be undone, `irreversible` cannot. By name or pattern; the first that fits counts."""
    unannotated: Access = "write"
    """What the tools do of which neither `access` nor the server says anything."""
    security: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The public MassGen's; without effect here: no command runs in a shell, and no server inherits your keys, at any level."""

    @property
    def is_program(self) -> bool:
        """Whether massgen starts it."""
        return self.type == "stdio" or (self.type is None and bool(self.command))

    def same_server(self, other: "McpServer") -> bool:
        """Whether one running server does for both; agents may still be offered different tools of it."""
        told = ("command", "args", "env", "cwd", "url", "headers", "is_program", "start_timeout")
        return all(getattr(self, each) == getattr(other, each) for each in told)

    def timeout_of(self, tool: str) -> float:
        """The seconds that a call of `tool` may take."""
        return first_fit(self.tool_timeouts, tool) or self.timeout


def first_fit(by_pattern: Mapping[str, T], *names: str) -> T | None:
    """The value of the first name or pattern that fits any of `names`."""
    return next((value for each, value in by_pattern.items() if any(fnmatchcase(name, each) for name in names)), None)


def tool_prefix(server: str) -> str:
    """What the names of the tools of `server` begin with, as models see them; those of a long one, without its end."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"mcp__{server}__")[:55]


def meant(name: str, known: Sequence[str], prefix: str = "") -> str:
    """Which of `known` may be meant by `name`, both without `prefix`, as the end of a sentence; empty if it is like none."""
    close = difflib.get_close_matches(name[:60], known[:_COMPARED], 1)
    return f"; did you mean {f'{prefix}{close[0]}'[:64]!r}?" if close else ""


@dataclass(frozen=True)
class OrList:
    """Annotates servers by name: a list of servers, each with its `name`, says the same. Problems keep their places."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            lambda given, check: check(_by_name(given)), handler.generate_schema(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = handler(cast("Any", schema)["schema"])
        listed = {"type": "array", "items": inner["additionalProperties"], "maxItems": MAX_SERVERS}
        return {"anyOf": [{**inner, "maxProperties": MAX_SERVERS}, listed]}


def _by_name(given: Any) -> Any:
    if not isinstance(given, list):
        return given
    every = _listed().validate_python(given)  # its problems name places in the list
    return {each.name or f"server{place}": each for place, each in enumerate(every, 1)}


@functools.cache
def _listed() -> TypeAdapter[list[McpServer]]:
    return TypeAdapter(list[McpServer])


McpServers: TypeAlias = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], McpServer], Field(max_length=MAX_SERVERS), OrList()
]
"""Servers by name, or a list of them."""
_FUNCTION = r"^(.*/)?\w+(\.\w+)*:\w+$"


def _function(given: Any) -> Any:
    if isinstance(given, str) and not re.match(_FUNCTION, given):
        raise PydanticCustomError("function", "no function of a module; one looks like words:count, the module first")
    return given


Functions: TypeAlias = Annotated[
    list[Annotated[str, Field(pattern=_FUNCTION, max_length=2_000), BeforeValidator(_function)]], Field(max_length=200)
]
"""Python functions, each as `module:function`, or as `FOLDER/module:function`."""


class ToolUser(Section):
    """What may stand in an agent, or in its `backend`, as the public MassGen has it."""

    mcp_servers: McpServers = Field(default_factory=dict[str, McpServer])
    """Servers of tools, by name: those of this agent alone. One of the team's of that name is not this agent's."""
    allowed_tools: Names | None = None
    """The only tools it is offered, by the name that models see (`mcp__SERVER__TOOL`), or by pattern. `null`: all."""
    exclude_tools: Names = Field(default_factory=list[str])
    """Tools it is not offered, in the same words. They outweigh `allowed_tools`."""


def server_conflicts(servers: Any) -> Iterator[tuple[Path, str]]:
    """What each value of `mcp_servers` alone does not show: where, and what is wrong. `servers` may be of any shape."""
    match servers:
        case [*every]:
            yield from _list_conflicts(every[:MAX_SERVERS])
        case Mapping():
            for name, each in itertools.islice(cast("Mapping[str, Any]", servers).items(), MAX_SERVERS):
                yield from (((name, *path), why) for path, why in _gaps(each))
                match each:
                    case {"name": str(other)} if other and other != name:
                        yield (
                            (name, "name"),
                            f"{other[:40]!r} is called {name[:40]!r} already, by its key; leave it out",
                        )
                    case _:
                        pass
        case _:
            pass


def _list_conflicts(every: list[Any]) -> Iterator[tuple[Path, str]]:
    seen: set[str] = set()
    for place, each in enumerate(every):
        yield from (((place, *path), why) for path, why in _gaps(each))
        match each:
            case {"name": str(name)} if name:
                if name in seen:
                    yield (place, "name"), f"two servers are called {name[:40]!r}; give each its own name"
                seen.add(name)
            case Mapping():
                yield (place, "name"), "missing; a server in a list needs it"
            case _:
                pass


def no_address(url: Any, like: str) -> str:
    """Why `url` is no address of a server, without the name and password that may stand in it; empty if it is one, or no text."""
    if not isinstance(url, str) or not url or re.match(r"https?://[^/\s]+\S*$", url):
        return ""
    shown = re.sub(r"//.*@", "//...@", url)[:60]  # cut first, half a password would be left, which nobody knows for one
    return f"{shown!r} is no address; one looks like {like}"


def _gaps(server: Any) -> Iterator[tuple[Path, str]]:
    if not isinstance(server, Mapping):
        return
    given = cast("Mapping[str, Any]", server)
    kind, url = given.get("type"), given.get("url")
    yield from _out_of_place(given)
    if why := no_address(url, "http://localhost:8000/mcp"):
        yield ("url",), why
    if given.keys() - McpServer.model_fields.keys():
        return  # what seems missing is probably there, misspelt
    match kind, bool(given.get("command")), bool(url):
        case "stdio", False, _:
            yield ("command",), "missing; a server of type stdio needs it, e.g. npx"
        case "streamable-http", _, False:
            yield ("url",), "missing; a server of type streamable-http needs it, e.g. http://localhost:8000/mcp"
        case None, False, False:
            yield ("command",), "missing; a server needs the `command` that starts it, or its `url`"
        case None, True, True:
            yield ("type",), "missing; with `command` and `url` it is either stdio or streamable-http"
        case _:
            pass


def _out_of_place(given: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    if given.get("workspace") and (other := next((key for key in ("cwd", "url") if given.get(key)), "")):
        yield ("workspace",), f"a server with a workspace is a program that massgen starts there; leave out `{other}`"
    args = given.get("args")
    if isinstance(args, list) and "workspace" not in given and "{workspace}" in str(cast("list[Any]", args)):
        yield ("workspace",), "missing; `{workspace}` in `args` stands for a folder where it is true"
    match given.get("type"), bool(given.get("command")), bool(given.get("url")):
        case ("streamable-http", _, True) | (None, False, True):
            yield from _unused(given, ("command", "args", "env", "cwd"), "`url` is a server that runs already")
        case ("stdio", True, _) | (None, True, False):
            yield from _unused(given, ("url", "headers"), "`command` is a program that massgen starts")
        case _:
            pass


def _unused(given: Mapping[str, Any], keys: Sequence[str], why: str) -> Iterator[tuple[Path, str]]:
    """What would reach nobody, and might be the key that a server is missing."""
    yield from (((key,), f"has no effect here: {why}; leave it out") for key in keys if given.get(key))
