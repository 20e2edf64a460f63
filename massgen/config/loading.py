"""Reads a configuration: every problem at once, each with file, line, column, and what was probably meant."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from massgen.config import Config, Where, keys, legacy
from massgen.config.checks import conflicts
from massgen.config.layers import OWN_KEYS, Layers, from_data, from_file
from massgen.config.limits import RateLimits
from massgen.config.tools import Section
from massgen.config.values import Values, source
from massgen.config.yaml_tree import Node, read, secret, short
from massgen.errors import ConfigError, Problem

MAX_PROBLEMS = 200
"""Problems that are told; what follows is counted."""

_ADDRESS = re.compile(r"([A-Z]+)_(?:\w+_)?(?:API_BASE|BASE_URL|ENDPOINT)")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, its `source` in plain data, and where that is from."""

    config: Config
    source: dict[str, Any]
    """As it was written: variables by name, keys that are written out redacted, files and the profile merged."""
    secrets: tuple[str, ...]
    """The values of the secrets in it."""
    profile: str = ""
    """The chosen profile's name."""
    files: tuple[str, ...] = ()
    """The file, and those it extends; of data, none."""
    limits_file: Path | None = None
    """The file of rate limits that it names."""


def load(path: Path, env: Mapping[str, str] | None = None, *, profile: str = "") -> Loaded:
    """The configuration in the file `path`. Raises `ConfigError` with all its problems.

    `${NAME}` stands for an environment variable, or one of a `.env` file in the working directory. `extends: FILE` names
    a file beneath this one; `profiles` holds changes by name, of which `profile`, or else the variable MASSGEN_PROFILE,
    chooses one. A configuration without profiles ignores that variable, for it is set for others too; of profiles that
    are not chosen all that they say is checked, but not what is missing, nor whether their variables are set."""
    return _loaded(from_file(path), environment() if env is None else env, profile)


def parse(data: Mapping[str, Any], env: Mapping[str, str] | None = None, *, profile: str = "") -> Loaded:
    """A configuration given as data, checked like a file."""
    return replace(_loaded(from_data(data), environment() if env is None else env, profile), files=())


def read_limits(path: Path) -> RateLimits:
    """The rate limits in the file `path`, which holds what a configuration has under `rate_limits`. Raises `ConfigError`."""
    found = read(path)
    tree = Node({"rate_limits": replace(found.root, value=found.root.value or {})}, file=str(path))
    values = Values({}, set())
    data = values.plain(tree, ())
    told = [*values.problems, *values.unset, *conflicts(data)]
    try:
        limits = _Limits.model_validate(data).rate_limits
    except ValidationError as error:
        limits, told = {}, [*told, *_failures(error, tree)]
    problems = {_spot(each): each for each in reversed([*found.problems, *(_problem(tree, *each) for each in told)])}
    if problems:
        raise ConfigError(sorted(problems.values(), key=lambda each: (each.line, each.column))[:MAX_PROBLEMS])
    return limits


class _Limits(Section):
    rate_limits: RateLimits


def environment() -> Mapping[str, str]:
    """The environment, and beneath it what a `.env` file in the working directory sets.

    Its addresses count beside its own keys alone: a folder from elsewhere must not send the user's keys to its author."""
    if not Path(".env").is_file():
        return os.environ
    from dotenv import dotenv_values

    try:
        values = dotenv_values(".env")
    except (OSError, ValueError) as error:
        raise ConfigError([f".env: cannot be read: {error}"]) from None
    given = {name: value for name, value in values.items() if value is not None}
    return {**{name: value for name, value in given.items() if not _lures(name, given)}, **os.environ}


def _lures(name: str, given: Mapping[str, str]) -> bool:
    """Whether `name` is an address to which a key of the environment would go."""
    if not (address := _ADDRESS.fullmatch(name)):
        return False
    key = re.compile(rf"{address[1]}_([A-Z]+_)?API_KEY")
    return not any(map(key.fullmatch, given)) and any(map(key.fullmatch, os.environ))


def _loaded(layers: Layers, env: Mapping[str, str], profile: str) -> Loaded:
    if not isinstance(layers.root.value, dict):
        raise ConfigError([Problem("a configuration is a mapping that begins with `agents:`", "", layers.files[0])])
    name = layers.choose(profile, env.get("MASSGEN_PROFILE", ""))
    report = _Report(layers, env)
    tree = layers.resolved(name)
    config = report.checked(tree)
    for other in [each for each in layers.profiles if each != name]:
        report.checked(layers.resolved(other), only=("profiles", other))
    if config is None or report.problems:
        raise report.refusal()
    return Loaded(config, source(tree), tuple(sorted(report.secrets)), name, layers.files, limits_file(tree, config))


def limits_file(tree: Node, config: Config) -> Path | None:
    """The file that `rate_limits` names, from the folder of the file where that stands."""
    match config.rate_limits:
        case str(name):
            return Path(tree.mapping["rate_limits"].file).parent / os.path.expanduser(name)
        case _:
            return None


class _Report:
    """Everything that is wrong, in whichever profile, told once."""

    def __init__(self, layers: Layers, env: Mapping[str, str]) -> None:
        self.problems: dict[Problem, None] = dict.fromkeys(layers.problems)
        self.secrets: set[str] = set()
        self._env, self._files, self._whole = env, layers.files, layers.whole
        self._flawed = {_spot(problem) for problem in layers.problems}

    def checked(self, tree: Node, only: Where = ()) -> Config | None:
        """The configuration in `tree`; None if it is none. `only`: the profile that was not chosen whose problems are told."""
        values = Values(self._env, self.secrets)
        data = values.plain(tree, ())
        self._tell(tree, values.problems if only else [*values.problems, *values.unset], only)
        self._flawed |= {_spot(_problem(tree, *each)) for each in (*values.problems, *values.unset)}
        if self._whole:
            self._tell(tree, conflicts(data), only)
        try:
            config = Config.model_validate(data)
        except ValidationError as error:
            self._tell(tree, _failures(error, tree, self._whole), only)
            return None
        self._check_limits(tree, config)
        return config

    def _check_limits(self, tree: Node, config: Config) -> None:
        """The problems of the file of rate limits, if there is one; where it cannot be read, that of the path."""
        path = limits_file(tree, config)
        try:
            _ = path and read_limits(path)
        except ConfigError as error:
            at = tree.mapping["rate_limits"]
            found = [each if each.line else at.problem(str(each)) for each in error.details]
            self.problems |= dict.fromkeys(found)

    def _tell(self, tree: Node, found: Iterable[tuple[Where, str]], only: Where) -> None:
        for path, what in found:
            problem, node = _problem(tree, path, what), _nearest(tree, path)[0]
            if node.path[: len(only)] == only and _spot(problem) not in self._flawed:
                self.problems[problem] = None

    def refusal(self) -> ConfigError:
        """All problems, in the order of the files."""
        from massgen.log import redactor  # with it comes all of the log, a tenth of what validating costs

        files = {file: place for place, file in enumerate(self._files)}  # one that is no YAML is none of them
        order = sorted(self.problems, key=lambda each: (files.get(each.file, len(files)), each.line, each.column))
        redact = redactor(self.secrets)
        told = [replace(each, message=redact(each.message), key=redact(each.key)) for each in order[:MAX_PROBLEMS]]
        if more := len(order[MAX_PROBLEMS:]):
            told.append(Problem(f"and {more:,} more problems", "", self._files[0]))
        return ConfigError(told)


def _failures(error: ValidationError, tree: Node, whole: bool = True) -> list[tuple[Where, str]]:
    """What is wrong and where, in the order of the file. `whole`: whether what is missing is missing indeed."""
    every = [each for each in error.errors(include_url=False) if whole or each["type"] != "missing"]
    every.sort(key=lambda details: _place(_nearest(tree, details["loc"])[0]))
    told = [(each["loc"], _why(each, tree)) for each in every[:MAX_PROBLEMS]]
    return [*told, *((each["loc"], "one more") for each in every[MAX_PROBLEMS:])]


def _nearest(tree: Node, path: Where) -> tuple[Node, Where]:
    """The value at `path`, or the nearest section around it and what is missing there."""
    for depth, step in enumerate(path):
        match tree.value, step:
            case dict(), str() if step in tree.mapping:
                tree = tree.mapping[step]
            case list(), int() if step < len(tree.items):
                tree = tree.items[step]
            case _:
                return tree, path[depth:]
    return tree, ()


def _problem(tree: Node, path: Where, what: str) -> Problem:
    node, missing = _nearest(tree, path)
    return node.problem(what, *missing)


def _place(node: Node) -> tuple[int, int]:
    return node.line, node.column


def _spot(problem: Problem) -> tuple[str, int, int, str]:
    return problem.file, problem.line, problem.column, problem.key


def _why(details: ErrorDetails, tree: Node) -> str:
    path, given = details["loc"], details["input"]
    match details["type"]:
        case "extra_forbidden":
            return f"unknown key; {legacy.alternative(path) or _meant(str(path[-1]), _known(path, tree))}"
        case "missing":
            return "missing"
        case "literal_error":
            expected = str(details.get("ctx", {}).get("expected", ""))
            allowed = re.findall(r"'([^']*)'", expected) or [expected.lower()]
            instead = legacy.type_alternative(str(given)) if path[-2:] == ("backend", "type") else ""
            return f"{short(given)} is not allowed; {instead or _meant(str(given), allowed)}"
        case _:
            message = details["msg"][0].lower() + details["msg"][1:]
            return message if secret(path) else f"{short(given)}: {message}"


def _known(path: Where, tree: Node) -> list[str]:
    """The keys that may stand where the one at `path` does."""
    known = keys(path[:-1])
    if path[1:]:
        return known
    return [*known, "agent"] if tree.mapping[str(path[0])].path[1:] else [*known, "agent", *OWN_KEYS]


def _meant(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word[:60], known, 1)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(known)}"
