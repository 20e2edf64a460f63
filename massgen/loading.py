"""Reads a configuration: every problem at once, each with file, line, column, and what was probably meant."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from massgen.config import Config
from massgen.errors import ConfigError
from massgen.log import redactor

MAX_BYTES = 1_000_000
"""A configuration larger than this is not one."""
MAX_NODES = 50_000
"""Values a configuration may have once its aliases are followed."""

_Path = tuple[str | int, ...]
_untyped: Any = yaml
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


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
    marks: dict[_Path, yaml.Mark] = field(default_factory=dict[_Path, yaml.Mark])
    problems: list[tuple[yaml.Mark | None, str]] = field(default_factory=list[tuple[yaml.Mark | None, str]])
    secrets: set[str] = field(default_factory=set[str])
    _count: int = 0

    def value(self, node: yaml.Node, path: _Path, within: tuple[yaml.Node, ...]) -> Any:
        self.marks.setdefault(path, node.start_mark)
        self._count += 1
        if node in within or self._count > MAX_NODES:
            raise _Unreadable(node.start_mark, "an alias that contains itself, or far too many values")
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path, (*within, node))
            case yaml.SequenceNode():
                return [self.value(item, (*path, i), (*within, node)) for i, item in enumerate(node.value)]
            case _:
                return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: _Path, within: tuple[yaml.Node, ...]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            if key in data:
                self.problems.append((key_node.start_mark, f"{_dotted((*path, key))}: this key is here twice"))
            self.marks[(*path, key)] = key_node.start_mark
            data[key] = self.value(value_node, (*path, key), within)
        return data

    def _scalar(self, node: yaml.Node, path: _Path) -> Any:
        try:
            return _untyped.constructor.SafeConstructor().construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self.problems.append((node.start_mark, f"{_dotted(path)}: {error}"))
            return None

    def expanded(self, data: Any, path: _Path = ()) -> Any:
        """`data` with every `${NAME}` replaced by the variable's value."""
        if isinstance(data, dict):
            return {key: self.expanded(item, (*path, key)) for key, item in cast("dict[str, Any]", data).items()}
        if isinstance(data, list):
            return [self.expanded(item, (*path, i)) for i, item in enumerate(cast("list[Any]", data))]
        return _VARIABLE.sub(lambda found: self._variable(found[1], path), data) if isinstance(data, str) else data

    def _variable(self, name: str, path: _Path) -> str:
        value = self.env.get(name)
        if value is None:
            self.problems.append((self.marks.get(path), f"{_dotted(path)}: the variable {name} is not set"))
            return ""
        if re.search(r"KEY|TOKEN|SECRET|PASSWORD", name) or path[-1:] == ("api_key",):
            self.secrets.add(value)
        return value


class _Unreadable(Exception):
    def __init__(self, mark: yaml.Mark | None, why: str) -> None:
        super().__init__(why)
        self.mark = mark


def load(path: Path, env: Mapping[str, str] | None = None) -> Loaded:
    """The configuration in the file `path`. Raises `ConfigError` with all its problems.

    `${NAME}` stands for an environment variable, or one of a `.env` file in the working directory."""
    reader = _Reader(str(path), _environment() if env is None else env)
    try:
        node: Any = _untyped.compose(_text(path), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        source = reader.value(node, (), ()) if node else None
    except (_Unreadable, yaml.MarkedYAMLError) as error:
        mark = error.mark if isinstance(error, _Unreadable) else error.problem_mark
        what = str(error) if isinstance(error, _Unreadable) else f"not YAML: {error.problem or error.context}"
        raise ConfigError([_at(reader.file, mark, what)]) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())[:200]}"]) from None
    return _checked(reader, source)


def parse(source: Mapping[str, Any], env: Mapping[str, str] | None = None) -> Loaded:
    """A configuration given as data, checked like a file."""
    return _checked(_Reader("config", _environment() if env is None else env), dict(source))


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError([f"{path}: a folder, not a configuration file"])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([f"{path}: larger than {MAX_BYTES:,} bytes; that is no configuration"])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text (byte {data[error.start]:#04x} at {error.start})"]) from None


def _environment() -> Mapping[str, str]:
    if not Path(".env").is_file():
        return os.environ
    from dotenv import dotenv_values

    return {**{name: value for name, value in dotenv_values(".env").items() if value is not None}, **os.environ}


def _checked(reader: _Reader, source: Any) -> Loaded:
    if not isinstance(source, dict):
        raise ConfigError([f"{reader.file}: a configuration is a mapping that begins with `agents:`"])
    data = cast("dict[str, Any]", source)
    expanded = reader.expanded(data)
    try:
        config = Config.model_validate(expanded)
    except ValidationError as error:
        reader.problems += [_problem(reader, details) for details in error.errors()]
    else:
        reader.problems += [(reader.marks.get(path), f"{_dotted(path)}: {why}") for path, why in _conflicts(config)]
        if not reader.problems:
            keys = (agent.backend.api_key for agent in config.agents)
            secrets = {*reader.secrets, *(key.get_secret_value() for key in keys if key)}
            return Loaded(config, _masked(data), tuple(secrets))
    ordered = sorted(
        reader.problems, key=lambda problem: (problem[0].line, problem[0].column) if problem[0] else (0, 0)
    )
    redact = redactor(reader.secrets)
    raise ConfigError([redact(_at(reader.file, mark, what)) for mark, what in ordered])


def _masked(data: Any) -> Any:
    """`data` with keys that were written out replaced."""
    if isinstance(data, dict):
        items = cast("dict[str, Any]", data).items()
        return {
            key: "[redacted]" if key == "api_key" and not _VARIABLE.search(str(item)) else _masked(item)
            for key, item in items
        }
    return [_masked(item) for item in cast("list[Any]", data)] if isinstance(data, list) else data


def _conflicts(config: Config) -> Iterator[tuple[_Path, str]]:
    seen: set[str] = set()
    for place, agent in enumerate(config.agents):
        name = agent.id or f"agent{place + 1}"
        if name in seen:
            yield ("agents", place, "id"), f"two agents are called {name!r}; give each its own id"
        seen.add(name)
        if agent.backend.type == "chatcompletion" and not agent.backend.base_url:
            yield (
                ("agents", place, "backend"),
                "a chatcompletion backend needs a base_url, e.g. http://localhost:8000/v1",
            )


def _problem(reader: _Reader, details: ErrorDetails) -> tuple[yaml.Mark | None, str]:
    path = tuple(details["loc"])
    shown = _dotted(path)
    mark = next((reader.marks[path[:end]] for end in range(len(path), -1, -1) if path[:end] in reader.marks), None)
    match details["type"]:
        case "extra_forbidden":
            return mark, f"{shown}: unknown key{_meant(str(path[-1]), _keys(path[:-1]))}"
        case "missing":
            return mark, f"{shown}: missing"
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", str(details.get("ctx", {}).get("expected", "")))
            return mark, f"{shown}: {_short(details['input'])} is not allowed{_meant(str(details['input']), allowed)}"
        case _:
            message = details["msg"][0].lower() + details["msg"][1:]
            value = "" if path[-1:] == ("api_key",) else f"{_short(details['input'])}: "
            return mark, f"{shown}: {value}{message}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _meant(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; allowed: {', '.join(known)}" if known else ""


def _keys(path: _Path) -> list[str]:
    """The keys that the section at `path` has."""
    section: Any = Config
    for step in path:
        if isinstance(step, str):
            section = section.model_fields[step].annotation
        section = next((each for each in get_args(section) if isinstance(each, type)), section)
    return [*section.model_fields] if isinstance(section, type) and issubclass(section, BaseModel) else []


def _dotted(path: _Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".") or "file"


def _at(file: str, mark: yaml.Mark | None, what: str) -> str:
    return f"{file}:{mark.line + 1}:{mark.column + 1} {what}" if mark else f"{file}: {what}"
