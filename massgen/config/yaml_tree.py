"""Reads YAML, or data, into a tree of nodes that know where they stand. Bounded: no file makes it slow, deep or large."""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import yaml

from massgen.config import Where
from massgen.errors import ConfigError, Problem

MAX_BYTES = 1_000_000
"""A configuration larger than this is not one."""
MAX_NODES = 10_000
"""Values a configuration may have once its aliases are followed."""
MAX_DEPTH = 50
"""Levels of mappings and lists."""

_untyped: Any = yaml
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NAMING = ("access", "mcp_servers", "tool_access", "tool_timeouts")
"""What stands in these is called as users and servers like it."""
_SECRET = re.compile(r"(api[_-]?key|token|secret|password|authorization)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a file: a mapping of nodes, a list of nodes, or a scalar."""

    value: Any
    path: Where = ()
    """Where it is in its own file, whatever became of that by merging."""
    file: str = ""
    line: int = 0
    """Of its key if it has one, else of itself; from 1. 0 in data that came from no file."""
    column: int = 0
    size: int = 1
    """Values in it, itself included."""

    def problem(self, message: str, *deeper: str | int) -> Problem:
        """What is wrong with this value, or with what is missing `deeper` in it."""
        return Problem(message, dotted((*self.path, *deeper)), self.file, self.line, self.column)

    @property
    def mapping(self) -> Mapping[str, "Node"]:
        """Its keys and values; empty if it is no mapping."""
        value = self.value
        return cast("dict[str, Node]", value) if isinstance(value, dict) else {}

    @property
    def items(self) -> list["Node"]:
        """Its values in order; empty if it is no list."""
        value = self.value
        return cast("list[Node]", value) if isinstance(value, list) else []


@dataclass(frozen=True, slots=True)
class Tree:
    """A file's `root`, and the `problems` it has as YAML: keys that are there twice, scalars that do not fit their tag."""

    root: Node
    problems: list[Problem] = field(default_factory=list[Problem])


def read(path: Path) -> Tree:
    """The tree in the file `path`. Raises `ConfigError` if there is none."""
    text, file = _text(path), str(path)
    try:
        return _Builder(file).tree(_untyped.parse(text, _LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = (mark.line + 1, mark.column + 1) if mark else ()
        problem = Problem(f"not YAML: {error.problem or error.context}", "", file, *place)
    except yaml.YAMLError as error:
        problem = Problem(f"not YAML: {' '.join(str(error).split())[:200]}", "", file)
    raise ConfigError([problem])


def plant(data: Any, file: str = "config", path: Where = ()) -> Node:
    """The tree of data that came from no file. Raises `ConfigError` for data that contains itself or is far too deep."""
    if len(path) > MAX_DEPTH:
        raise ConfigError([Problem(f"contains itself, or has more than {MAX_DEPTH} levels", "", file)])
    match data:
        case Mapping():
            entries = cast("Mapping[Any, Any]", data).items()
            value: Any = {str(key): plant(item, file, (*path, str(key))) for key, item in entries}
        case list() | tuple():
            value = [plant(item, file, (*path, place)) for place, item in enumerate(cast("list[Any]", data))]
        case _:
            value = data
    return Node(value, path, file, size=_size(value))


def secret(path: Where) -> bool:
    """Whether the value at `path` is to be shown to nobody."""
    steps = zip(("", *path), path, strict=False)
    telling = any(isinstance(step, str) and _SECRET.search(step) for above, step in steps if above not in _NAMING)
    return telling or of_a_server(path)


def of_a_server(path: Where) -> bool:
    """Whether it is a variable or a header that a server of tools is given."""
    return any(one == "mcp_servers" and two in ("env", "headers") for one, two in zip(path, path[2:-1], strict=False))


def dotted(path: Where) -> str:
    """As in `agents[1].backend.model`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_key(step)}" for step in path).removeprefix(".")


def short(value: Any) -> str:
    """`value` for a message: no more than 60 characters, and nothing of what a section holds."""
    match value:
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case int() if abs(value) >= 2**63:
            return "a number beyond 63 bits"
        case _:
            shown = repr(value)
            return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w.<-]{1,60}", name) else short(name)


def _size(value: Any) -> int:
    children = cast("dict[str, Node]", value).values() if isinstance(value, dict) else value
    return 1 + sum(child.size for child in cast("Iterable[Node]", children)) if isinstance(value, dict | list) else 1


def _text(path: Path) -> str:
    file = str(path)
    try:
        if path.is_dir():
            raise ConfigError([Problem("a folder, not a configuration file", "", file)])
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError([Problem(f"cannot be read: {why}", "", file)]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([Problem(f"larger than {MAX_BYTES:,} bytes; that is no configuration", "", file)])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        what = f"not UTF-8 text (byte {data[error.start]:#04x} at {error.start})"
        raise ConfigError([Problem(what, "", file)]) from None


@dataclass(slots=True)
class _Builder:
    """Builds the tree from the parser's events, not from its nodes: those recurse in C, where too much ends the process."""

    file: str
    problems: list[Problem] = field(default_factory=list[Problem])
    _anchors: dict[str, Node | None] = field(default_factory=dict[str, Node | None])
    """None: still being built."""
    _count: int = 0

    def tree(self, events: Iterator[yaml.Event]) -> Tree:
        root: Node | None = None
        for event in events:
            if root and isinstance(event, yaml.DocumentStartEvent):
                raise self._refused(event, "not YAML: but found another document")
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, self._at(event, ()))
        return Tree(root or Node(None, file=self.file), self.problems)

    def _node(self, event: yaml.NodeEvent, events: Iterator[yaml.Event], at: Node) -> Node:
        """The value that begins with `event`, to be told as `at`."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, at)
        if len(at.path) > MAX_DEPTH:
            raise self._refused(event, f"more than {MAX_DEPTH} levels")
        self._bear(event, 1)
        if event.anchor:
            self._anchors[event.anchor] = None
        value = self._value(event, events, at)
        node = replace(at, value=value, size=_size(value))
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _value(self, event: yaml.NodeEvent, events: Iterator[yaml.Event], at: Node) -> Any:
        match event:
            case yaml.MappingStartEvent():
                return self._mapping(events, at.path)
            case yaml.SequenceStartEvent():
                inside = enumerate(_until_end(events))
                return [self._node(item, events, self._at(item, (*at.path, place))) for place, item in inside]
            case _:
                return self._scalar(cast("yaml.ScalarEvent", event), at)

    def _mapping(self, events: Iterator[yaml.Event], path: Where) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for event in _until_end(events):
            key = self._key(event, events, path)
            at = self._at(event, (*path, key))
            if key in entries:
                self.problems.append(at.problem("this key is here twice"))
            entries[key] = self._node(cast("yaml.NodeEvent", next(events)), events, at)
        return entries

    def _key(self, event: yaml.NodeEvent, events: Iterator[yaml.Event], path: Where) -> str:
        if isinstance(event, yaml.ScalarEvent) and not event.anchor:
            return event.value
        value = self._node(event, events, self._at(event, (*path, "?"))).value
        return "?" if isinstance(value, dict | list) else str(value)

    def _alias(self, event: yaml.AliasEvent, at: Node) -> Node:
        if event.anchor not in self._anchors:
            raise self._refused(event, "not YAML: found undefined alias")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._refused(event, "an alias that contains itself")
        self._bear(event, node.size)
        return replace(at, value=node.value, size=node.size)

    def _bear(self, event: yaml.Event, values: int) -> None:
        self._count += values
        if self._count > MAX_NODES:
            raise self._refused(event, "far too many values")

    def _scalar(self, event: yaml.ScalarEvent, at: Node) -> Any:
        tag = event.tag if event.tag and event.tag != "!" else _resolve(event.value, event.implicit)
        try:
            return _construct(tag, event.value)
        except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError):  # as `!!bool maybe` raises
            kind = short(tag.removeprefix("tag:yaml.org,2002:"))
            self.problems.append(at.problem("not understood; quote it" if secret(at.path) else f"no valid {kind}"))
            return None

    def _at(self, event: yaml.Event, path: Where) -> Node:
        mark: Any = event.start_mark
        return Node(None, path, self.file, mark.line + 1, mark.column + 1)

    def _refused(self, event: yaml.Event, message: str) -> ConfigError:
        at = self._at(event, ())
        return ConfigError([Problem(message, "", at.file, at.line, at.column)])


def _until_end(events: Iterator[yaml.Event]) -> Iterator[yaml.NodeEvent]:
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            return
        yield cast("yaml.NodeEvent", event)


@functools.cache
def _resolver() -> Any:
    return _untyped.resolver.Resolver()


def _resolve(value: str, implicit: tuple[bool, bool]) -> str:
    return _resolver().resolve(yaml.ScalarNode, value, implicit)


def _construct(tag: str, value: str) -> Any:
    if tag == "tag:yaml.org,2002:str":
        return value
    return _untyped.constructor.SafeConstructor().construct_object(yaml.ScalarNode(tag, value))
