"""Configurations from the schema, then spoiled: each is a ready run, or a list of problems with their places."""

import contextlib
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from massgen.config import Config
from massgen.config.loading import load, parse
from massgen.config.schema import schema
from massgen.errors import ConfigError

SCHEMA = schema()
VALID = Draft202012Validator(SCHEMA)
ENV = {"HOME": "/home", "MY_KEY": "sk-0123456789abcdef"}
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)

# --- what is right ---

_GOOD = {
    "base_url": st.just("http://localhost:1/v1"),
    "id": st.sampled_from(["ada", "bob", "agent1", "agent2", "${HOME}"]),
    "role": st.sampled_from(["critic", "writer", "own", ""]),
    "extends": st.sampled_from(["base.yaml", "@examples/quickstart", "none.yaml", "team.yaml"]),
    "api_key": st.sampled_from(["${MY_KEY}", "sk-written-out", None]),
}
_NEEDED = {"backend", "type", "model", "agents"}


def right(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What the schema `part` allows, with the keys that most need."""
    match part:
        case {"$ref": str(name)}:
            return st.deferred(lambda: _defined(name.removeprefix("#/$defs/")))  # else its repr tells the whole schema
        case {"anyOf": choices}:
            return st.one_of([right(each) for each in choices])
        case {"enum": words}:
            return st.sampled_from(words)
        case {"const": word}:
            return st.just(word)
        case {"properties": properties}:
            return _section(properties)
        case _:
            return _plain(part)


@functools.cache
def _defined(name: str) -> st.SearchStrategy[Any]:
    return right(SCHEMA["$defs"][name])


def _section(properties: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """`agents`, never `agent`: the two exclude each other."""
    known = {key: _GOOD[key] if key in _GOOD else right(each) for key, each in properties.items() if key != "agent"}
    optional = {key: strategy for key, strategy in known.items() if key not in _NEEDED}
    return st.fixed_dictionaries({key: known[key] for key in known if key in _NEEDED}, optional=optional)


def _plain(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    low = part.get("minimum", part.get("exclusiveMinimum", 0) + 0.5 if "exclusiveMinimum" in part else 0)
    top = part.get("maximum", int(low) + 50)
    match part["type"]:
        case "integer":
            return st.integers(int(low + 0.5), top)
        case "number":
            return st.floats(low, top)
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(right(part["items"]), min_size=part.get("minItems", 0), max_size=3)
        case "string":
            return st.sampled_from(["${HOME}"] if "pattern" in part else ["", "m", "größer", "${HOME}"])
        case _:
            return _named(part)


def _named(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A mapping whose keys are names, or null."""
    match part.get("additionalProperties"):
        case dict() as inside:
            return st.dictionaries(st.sampled_from(["dev", "prod", "own"]), right(inside), max_size=2)
        case True:
            return st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=3), max_size=2)
        case _:
            return st.none()


_FILES = right(SCHEMA)


# --- and what is wrong ---

_ODD = st.sampled_from(
    [None, True, -1, 1e400, 2**70, "", "no", "${NO_SUCH}", "\x1b[2J", [], {}, [[]], {"a": 1}, {"": None}, "ключ", "x" * 99]
)  # fmt: skip


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in `data`, the whole first."""
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, each in entries for place in _places(each, (*path, key)))]


def _at(data: Any, path: Sequence[Any]) -> Any:
    for step in path:
        data = data[step]
    return data


def _misspelt(draw: st.DrawFn, section: Any, key: Any) -> None:
    if isinstance(section, dict):
        wrong = [key[:-1], f"{key}s", key.upper(), key.replace("_", "-"), f" {key}"]
        section[draw(st.sampled_from(wrong))] = section.pop(key)


def _gone(draw: st.DrawFn, section: Any, key: Any) -> None:
    del section[key]


def _deep(draw: st.DrawFn, section: Any, key: Any) -> None:
    for _ in range(draw(st.sampled_from([1, 30, 60]))):
        section[key] = [section[key]] if draw(st.booleans()) else {"a": section[key]}


def _odd(draw: st.DrawFn, section: Any, key: Any) -> None:
    section[key] = draw(_ODD)


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A right file in which one to three things are no longer so."""
    data = json.loads(json.dumps(draw(_FILES)))
    for _ in range(draw(st.integers(1, 3))):
        (*above, key), (*aside, other) = draw(st.tuples(*[st.sampled_from(_places(data)[1:] or [("agents",)])] * 2))
        section = _at(data, above)
        if not data:
            break
        if draw(st.booleans()):
            draw(st.sampled_from([_misspelt, _gone, _deep, _odd]))(draw, section, key)
        else:
            section[key] = json.loads(json.dumps(_at(data, [*aside, other])))
    return data


_CUTS = st.tuples(
    st.integers(0, 2000),
    st.integers(0, 9),
    st.sampled_from([b"", b"\t", b"&a ", b"*a", b"&a [*a]", b"<<: *a", b"? ", b": ", b"\xff", b"\0", b"\r", b"- ", b"{", b"]", b"!!x ", b"---\n", b"|", b"\xef\xbb\xbf", b"#", b"'"]),
)  # fmt: skip


def _dumped(data: Any, as_json: bool) -> bytes:
    if as_json:
        return json.dumps(data, indent=1).encode()
    return yaml.dump(data, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), allow_unicode=True).encode()


def check(path: Path, profile: str = "") -> None:
    """Any other exception than a `ConfigError` is the test's failure."""
    try:
        found, told = load(path, ENV, profile=profile), ()
    except ConfigError as error:
        found, told = None, error.details
    assert bool(found) != bool(told)
    for problem in told:
        assert problem.file
        assert problem.line > 0 < problem.column or not problem.key
        assert "\n" not in str(problem)
        assert ENV["MY_KEY"] not in str(problem)
    if found:
        source = json.dumps(found.source)
        assert ENV["MY_KEY"] not in source
        assert parse(json.loads(source), ENV).source == found.source


@given(data=_FILES, profile=st.sampled_from(["", "dev"]), as_json=st.booleans())
@QUICK
def test_a_file_by_the_schema_is_a_run_or_a_list_of_problems(tmp_path, data, profile, as_json):
    (tmp_path / "base.yaml").write_text("agent: {backend: {type: local}}\nextends: deeper.yaml")
    (path := tmp_path / "team.yaml").write_bytes(_dumped(data, as_json))
    check(path, profile)


@given(data=spoiled(), profile=st.sampled_from(["", "dev"]), as_json=st.booleans())
@QUICK
def test_a_file_with_mistakes_is_a_run_or_a_list_of_problems(tmp_path, data, profile, as_json):
    (path := tmp_path / "team.yaml").write_bytes(_dumped(data, as_json))
    (tmp_path / "base.yaml").write_bytes(path.read_bytes())
    check(path, profile)


@given(data=_FILES, cuts=st.lists(_CUTS, min_size=1, max_size=3), as_json=st.booleans())
@QUICK
def test_a_file_with_broken_bytes_is_a_run_or_a_list_of_problems(tmp_path, data, cuts, as_json):
    text = _dumped(data, as_json)
    for where, gone, put in cuts:
        at = where % (len(text) + 1)
        text = text[:at] + put + text[at + gone :]
    (path := tmp_path / "team.yaml").write_bytes(text)
    check(path)


@given(data=spoiled())
@QUICK
def test_the_schema_refuses_exactly_what_the_types_refuse(data):
    """Of what is plain: without other layers, variables, and numbers that JSON has not."""
    plain = {key: value for key, value in data.items() if key not in ("extends", "profiles", "agent")}
    if any(word in json.dumps(plain) for word in ("Infinity", str(2**70), "${")):
        return
    problem = ""
    with contextlib.suppress(ValidationError):
        problem = "refused"
        Config.model_validate(plain)
        problem = ""
    assert bool(problem) != VALID.is_valid(plain)
