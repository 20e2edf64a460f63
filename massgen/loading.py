"""Reads a configuration: every problem at once, each with file, line, column, and what was probably meant."""

import difflib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from massgen.config import Config, Where, conflicts, keys
from massgen.errors import ConfigError
from massgen.log import redactor

MAX_BYTES = 1_000_000
"""A configuration larger than this is not one."""
MAX_NODES = 10_000
"""Values a configuration may have once its aliases are followed."""
MAX_DEPTH = 50
"""Levels of mappings and lists; the C parser crashes at some 10,000."""
MAX_PROBLEMS = 50
"""Problems that are told; what follows is counted."""

_untyped: Any = yaml
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET = re.compile(r"(api[_-]?key|token|secret|password|authorization)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, `source` as it was written (variables by name), and the values of the `secrets` in it."""

    config: Config
    source: dict[str, Any]
    secrets: tuple[str, ...]


@dataclass(slots=True)
class _Reader:
    """Turns a YAML tree into plain data; remembers where each value stands, and what is wrong."""

    file: str
    env: Mapping[str, str]
    marks: dict[Where, yaml.Mark] = field(default_factory=dict[Where, yaml.Mark])
    problems: list[tuple[Where, str]] = field(default_factory=list[tuple[Where, str]])
    secrets: set[str] = field(default_factory=set[str])
    _count: int = 0

    def value(self, node: yaml.Node, path: Where) -> Any:
        self.marks.setdefault(path, node.start_mark)
        self._count += 1
        if len(path) > MAX_DEPTH or self._count > MAX_NODES:
            raise _Unreadable(node.start_mark, "an alias that contains itself, or far too many values")
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            case _:
                return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Where) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            self.marks[(*path, key)] = key_node.start_mark
            if key in data:
                self.problems.append(((*path, key), "this key is here twice"))
            data[key] = self.value(value_node, (*path, key))
        return data

    def _scalar(self, node: yaml.Node, path: Where) -> Any:
        try:
            return _untyped.constructor.SafeConstructor().construct_object(node)
        except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError):  # as `!!bool maybe` raises
            kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
            self.problems.append((path, "not understood; quote it" if _secret(path) else f"no valid {_short(kind)}"))
            return None

    def plain(self, data: Any, path: Where = ()) -> Any:
        """`data` as JSON has it, with every `${NAME}` replaced by the variable's value."""
        match data:
            case Mapping():
                items = cast("Mapping[Any, Any]", data).items()
                return {str(key): self.plain(item, (*path, str(key))) for key, item in items}
            case list() | tuple():
                return [self.plain(item, (*path, i)) for i, item in enumerate(cast("list[Any]", data))]
            case str():
                return self._expanded(data, path)
            case _ if _fits_json(data):
                return data
            case _:
                self.problems.append((path, f"{_short(data)} is not text, a usual number, true, false or null"))
                return None

    def _expanded(self, text: str, path: Where) -> str:
        expanded = _VARIABLE.sub(lambda found: self._variable(found[1], path), text)
        if expanded and _secret(path):
            self.secrets.add(expanded)
        return expanded

    def _variable(self, name: str, path: Where) -> str:
        value = self.env.get(name)
        if value is None:
            self.problems.append((path, f"the variable {name} is not set"))
        elif re.search(r"KEY|TOKEN|SECRET|PASSWORD", name):
            self.secrets.add(value)
        return value or ""

    def refusal(self) -> ConfigError:
        """All problems, in the order of the file."""
        ordered = sorted(self.problems, key=lambda problem: self.place(problem[0]))
        redact = redactor(self.secrets)
        lines = [redact(self._line(path, what)) for path, what in ordered[:MAX_PROBLEMS]]
        more = [f"{self.file}: and {len(ordered) - MAX_PROBLEMS:,} more problems"] if ordered[MAX_PROBLEMS:] else []
        return ConfigError([*lines, *more])

    def place(self, path: Where) -> tuple[int, int]:
        mark = self._mark(path)
        return (mark.line, mark.column) if mark else (0, 0)

    def _mark(self, path: Where) -> yaml.Mark | None:
        """Where `path` is in the file, or the nearest section around it."""
        return next((self.marks[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.marks), None)

    def _line(self, path: Where, what: str) -> str:
        return _at(self.file, self._mark(path), f"{_dotted(path)}: {what}")


class _Unreadable(Exception):
    def __init__(self, mark: yaml.Mark | None, why: str) -> None:
        super().__init__(why)
        self.mark = mark


def load(path: Path, env: Mapping[str, str] | None = None) -> Loaded:
    """The configuration in the file `path`. Raises `ConfigError` with all its problems.

    `${NAME}` stands for an environment variable, or one of a `.env` file in the working directory."""
    reader, text = _Reader(str(path), environment() if env is None else env), _text(path)
    try:
        _check_size(text)
        node: Any = _untyped.compose(text, _LOADER)
        source = reader.value(node, ()) if node else None
    except (_Unreadable, yaml.MarkedYAMLError) as error:
        mark = error.mark if isinstance(error, _Unreadable) else error.problem_mark
        what = str(error) if isinstance(error, _Unreadable) else f"not YAML: {error.problem or error.context}"
        raise ConfigError([_at(reader.file, mark, what)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())[:200]}"]) from None
    return _checked(reader, source)


def parse(source: Mapping[str, Any], env: Mapping[str, str] | None = None) -> Loaded:
    """A configuration given as data, checked like a file."""
    return _checked(_Reader("config", environment() if env is None else env), source)


def _check_size(text: str) -> None:
    """Before the tree is built: that recurses in C, where too much of it ends the process."""
    depth = 0
    for count, event in enumerate(_untyped.parse(text, _LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > 3 * MAX_NODES:
            raise _Unreadable(event.start_mark, f"more than {MAX_DEPTH} levels, or far too many values")


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError([f"{path}: a folder, not a configuration file"])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([f"{path}: larger than {MAX_BYTES:,} bytes; that is no configuration"])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text (byte {data[error.start]:#04x} at {error.start})"]) from None


def environment() -> Mapping[str, str]:
    """The environment, and beneath it what a `.env` file in the working directory sets."""
    if not Path(".env").is_file():
        return os.environ
    from dotenv import dotenv_values

    try:
        values = dotenv_values(".env")
    except (OSError, ValueError) as error:
        raise ConfigError([f".env: cannot be read: {error}"]) from None
    return {**{name: value for name, value in values.items() if value is not None}, **os.environ}


def _checked(reader: _Reader, source: Any) -> Loaded:
    if not isinstance(source, Mapping):
        raise ConfigError([f"{reader.file}: a configuration is a mapping that begins with `agents:`"])
    try:
        data = reader.plain(source)
    except RecursionError:
        raise ConfigError([f"{reader.file}: contains itself"]) from None
    flawed = {path for path, _ in reader.problems}
    reader.problems += [problem for problem in conflicts(data) if problem[0] not in flawed]
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        every = [details for details in error.errors(include_url=False) if tuple(details["loc"]) not in flawed]
        every.sort(key=lambda details: reader.place(tuple(details["loc"])))
        reader.problems += [_problem(details) for details in every[:MAX_PROBLEMS]]
        reader.problems += [(tuple(details["loc"]), "one more") for details in every[MAX_PROBLEMS:]]
        raise reader.refusal() from None
    if reader.problems:
        raise reader.refusal()
    return Loaded(config, _masked(source), tuple(sorted(reader.secrets)))


def _fits_json(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case int():
            return abs(value) < 2**63
        case _:
            return value is None


def _masked(data: Any, path: Where = ()) -> Any:
    """`data` with secrets that were written out replaced."""
    match data:
        case Mapping():
            items = cast("Mapping[Any, Any]", data).items()
            return {str(key): _masked(item, (*path, str(key))) for key, item in items}
        case list() | tuple():
            return [_masked(item, path) for item in cast("list[Any]", data)]
        case str() if _secret(path) and not _VARIABLE.fullmatch(data):
            return "[redacted]"
        case _:
            return data


def _secret(path: Where) -> bool:
    return any(isinstance(step, str) and _SECRET.search(step) for step in path)


def _problem(details: ErrorDetails) -> tuple[Where, str]:
    path, given = tuple(details["loc"]), details["input"]
    match details["type"]:
        case "extra_forbidden":
            return path, f"unknown key{_meant(str(path[-1]), keys(path[:-1]))}"
        case "missing":
            return path, "missing"
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", str(details.get("ctx", {}).get("expected", "")))
            return path, f"{_short(given)} is not allowed{_meant(str(given)[:60], allowed)}"
        case _:
            message = details["msg"][0].lower() + details["msg"][1:]
            return path, message if _secret(path) else f"{_short(given)}: {message}"


def _short(value: Any) -> str:
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


def _meant(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word[:60], known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; allowed: {', '.join(known)}" if known else ""


def _dotted(path: Where) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_key(step)}" for step in path).removeprefix(".")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w.<-]{1,60}", name) else _short(name)


def _at(file: str, mark: yaml.Mark | None, what: str) -> str:
    return f"{file}:{mark.line + 1}:{mark.column + 1} {what}" if mark else f"{file}: {what}"
