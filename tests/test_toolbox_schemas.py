"""Schemas as every provider takes them: what one of them refuses is said in other words, and loses a rule at most."""

import re
import time
from collections.abc import Iterator
from typing import Annotated, Any, cast

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from massgen.toolbox.agent import MANY_TOOLS, agent_toolbox
from massgen.toolbox.functions import described
from massgen.toolbox.names import arguments
from massgen.toolbox.schemas import accepted, flaw, mended
from massgen.toolbox.servers import Servers
from tests.mcp_servers import raw

TEXT = {"type": "string"}
PATHS = {"type": "array", "items": TEXT}


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema in `schema`."""
    if not isinstance(schema, dict):
        return
    whole = cast("dict[str, Any]", schema)
    yield whole
    for key, value in whole.items():
        if key in ("properties", "$defs"):
            inner = value.values()
        else:
            inner = value if key in ("anyOf", "oneOf", "allOf") else [value] if key == "items" else []
        for each in inner:
            yield from parts(each)


def refusals(schema: dict[str, Any]) -> list[str]:
    """What OpenAI, Anthropic or Google refuse a whole request for, in their words."""
    told = [f"{key} at the top level" for key in ("oneOf", "anyOf", "allOf", "not", "enum", "$ref") if key in schema]
    told += [] if "properties" in schema and schema["type"] == "object" else ["object schema missing properties"]
    for part in parts(schema):
        named, required = part.get("properties", {}), part.get("required", [])
        told += ["array schema missing items"] if part.get("type") == "array" and "items" not in part else []
        told += ["items is no object"] if not isinstance(part.get("items", {}), dict) else []
        told += [f"None is not of type {key}" for key, value in part.items() if value is None]
        told += ["required has non-unique elements"] if len({*required}) < len(required) else []
        told += [f"property is not defined: {each}" for each in required if named and each not in named]
        told += [
            f"can not resolve {at}" for at in [part.get("$ref", "#")] if at != "#" and at[8:] not in schema["$defs"]
        ]
    return told


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ({}, {}),
        ({"properties": [], "required": None}, {}),
        ({"type": ["object", "null"]}, {}),
        ({"type": None, "description": None, "properties": None, "default": None}, {"default": None}),
        ({"properties": {"a": True, "b": {"type": "array"}}}, {"properties": {"a": {}, "b": {"type": "array", "items": {}}}}),
        (
            {"properties": {"a": {"type": "array", "items": [TEXT, {"type": "null"}]}}},
            {"properties": {"a": {"type": "array", "items": {"anyOf": [TEXT, {"type": "null"}]}}}},
        ),
        (
            {"properties": {"a": {"$ref": "https://example.com/a"}, "b": {"$ref": "#/$defs/b"}, "c": {"$ref": 3}}},
            {"properties": {"a": {}, "b": {}, "c": {}}},
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/x~1y"}}, "$defs": {"x/y": TEXT}},
            {"properties": {"a": {"$ref": "#/$defs/x~1y"}}, "$defs": {"x/y": TEXT}},
        ),
        (
            {"properties": {"a": TEXT}, "required": ["a", "b", "a"]},
            {"properties": {"a": TEXT, "b": {}}, "required": ["a", "b"]},
        ),
        ({"additionalProperties": False}, {"additionalProperties": False}),
    ],
)  # fmt: skip
def test_what_a_provider_refuses_is_said_otherwise(given: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert accepted(given) == {"properties": {}, "type": "object", **becomes}


@pytest.mark.parametrize(
    ("given", "properties", "required"),
    [
        ({"anyOf": [{"required": ["paths"]}, {"required": ["scopes"]}], "properties": {"paths": PATHS}}, {"paths": PATHS}, None),
        (
            {"anyOf": [{"properties": {"url": TEXT, "name": TEXT}, "required": ["url", "name"]},
                       {"properties": {"text": TEXT, "name": PATHS}, "required": ["name", "text"]}]},
            {"url": TEXT, "name": {"anyOf": [TEXT, PATHS]}, "text": TEXT},
            ["name"],
        ),
        (
            {"allOf": [{"$ref": "#/$defs/Base"}, {"properties": {"b": TEXT}}], "$defs": {"Base": {"properties": {"a": TEXT}, "required": ["a"]}}},
            {"a": TEXT, "b": TEXT},
            ["a"],
        ),
        ({"$ref": "#/$defs/In", "$defs": {"In": {"oneOf": [{"properties": {"a": TEXT}}]}}}, {"a": TEXT}, None),
        ({"$ref": "#", "anyOf": [{"$ref": "#"}, {"$ref": "#"}], "properties": {"a": TEXT}}, {"a": TEXT}, None),
        ({"allOf": [{"properties": {"a": PATHS}}], "properties": {"a": TEXT}, "not": {"required": ["a"]}}, {"a": TEXT}, None),
        ({"anyOf": [True, {"required": ["a"], "properties": {"a": TEXT}}]}, {"a": TEXT}, None),
        ({"anyOf": [False, {"required": ["a"], "properties": {"a": TEXT}}]}, {"a": TEXT}, ["a"]),
        ({"anyOf": [*([{"required": ["a"], "properties": {"a": TEXT}}] * 200), {}]}, {"a": TEXT}, None),
        (
            {"anyOf": [{"allOf": [{"$ref": "#/$defs/d"}], "properties": {"a": TEXT}}, {"$ref": "#/$defs/d"}],
             "$defs": {"d": {"properties": {"a": PATHS}}}},
            {"a": {"anyOf": [TEXT, PATHS]}},
            None,
        ),
    ],
)  # fmt: skip
def test_combinations_at_the_top_leave_all_their_arguments(
    given: dict[str, Any], properties: dict[str, Any], required: list[str] | None
) -> None:
    flat = accepted(given)
    assert refusals(flat) == []
    assert flat["properties"] == properties
    assert flat.get("required") == required


def schemas(*leaves: Any) -> st.SearchStrategy[Any]:
    def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        parts = {"items": inner, "anyOf": st.lists(inner, max_size=3), "allOf": st.lists(inner, max_size=3)}
        named = {"properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3)}
        required = {"required": st.lists(st.sampled_from("abc"), max_size=3)}
        return st.fixed_dictionaries({}, optional={**parts, **named, **required})

    return st.recursive(
        st.sampled_from([True, TEXT, {"type": "array"}, {"enum": ["a"]}, *leaves]), around, max_leaves=12
    )


DEFINED, NOWHERE = {"$ref": "#/$defs/d"}, {"$ref": "#/nowhere"}


@given(schemas(DEFINED, NOWHERE), schemas(DEFINED))
def test_no_sound_schema_is_refused_and_none_changes_twice(schema: Any, defined: Any) -> None:
    flat = accepted({**as_object(schema), "$defs": {"d": defined}})
    assert (flaw(flat), refusals(flat)) == ("", [])
    assert accepted(flat) == flat


@given(schemas(DEFINED), schemas(), st.dictionaries(st.sampled_from("abc"), st.sampled_from(["a", []])))
def test_what_a_schema_allowed_it_still_allows(schema: Any, defined: Any, value: dict[str, Any]) -> None:
    whole = {**as_object(schema), "$defs": {"d": defined}}
    meant = {**as_object(exclusive(schema, defined)), "$defs": {"d": exclusive(defined)}}
    assert allows(accepted(whole), value) or not allows(meant, value)


def exclusive(schema: Any, defined: Any = True) -> Any:
    """`schema` where what an alternative does not name is not to be given with it, but with those that name it."""
    if not isinstance(schema, dict):
        return schema
    said = cast("dict[str, Any]", schema)
    both = {key: [exclusive(each, defined) for each in said[key]] for key in ("anyOf", "allOf") if key in said}
    if "anyOf" in both:
        every = [named(each, defined) for each in said["anyOf"]]
        without = [dict.fromkeys(set[str]().union(*every) - own, False) for own in every]
        both["anyOf"] = [{"allOf": [each, {"properties": no}]} for each, no in zip(both["anyOf"], without, strict=True)]
    return {**said, **both}


def named(schema: Any, defined: Any) -> set[str]:
    if not isinstance(schema, dict):
        return set()
    said = cast("dict[str, Any]", schema)
    inner = [*said.get("anyOf", []), *said.get("allOf", []), *([defined] if "$ref" in said else [])]
    return {*said.get("properties", {})}.union(*(named(each, True) for each in inner))


def allows(schema: Any, value: Any) -> bool:
    return cast("Any", jsonschema.Draft202012Validator(schema)).is_valid(value)


def as_object(schema: Any) -> dict[str, Any]:
    return {**(cast("dict[str, Any]", schema) if isinstance(schema, dict) else {}), "type": "object"}


def test_a_schema_that_leads_to_itself_in_a_thousand_ways_is_bounded() -> None:
    many = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{m}"} for m in range(60)]} for n in range(60)}
    deep: dict[str, Any] = {f"e{n}": {"allOf": [{"$ref": f"#/$defs/e{n + 1}"}]} for n in range(3_000)}
    began = time.process_time()
    for first in ("d0", "e0"):
        assert refusals(accepted({"$ref": f"#/$defs/{first}", "$defs": {**many, **deep}})) == []
    assert time.process_time() - began < 2


def test_what_is_broken_stays_broken() -> None:
    for broken in ({"properties": ["a"]}, {"anyOf": [{"type": "text"}], "properties": 3}, {"required": ["a", 2]}):
        assert flaw(accepted(broken)).startswith("its inputSchema is broken")
    assert flaw(accepted({"type": "array"})) == "its inputSchema is of another type than object"
    assert accepted("object") == "object"
    deep: Any = TEXT
    for _ in range(60):
        deep = {"properties": {"a": deep}}
    assert "or 40 levels" in flaw(accepted(deep))


def test_a_list_of_tools_is_told_as_it_can_be_offered() -> None:
    listing, told = mended({"tools": [{"name": "a", "inputSchema": {"oneOf": [{"properties": {"b": TEXT}}]}}]})
    assert listing["tools"][0]["inputSchema"]["properties"] == {"b": TEXT}
    assert told == []


async def test_a_function_may_take_what_has_no_one_kind_of_items() -> None:
    def pair(both: tuple[int, str], size: Annotated[int, Field(alias="größe")]) -> str:
        return f"{both} {size}"

    function = described(pair)
    assert refusals(dict(function.tool.parameters)) == []
    async with Servers() as servers:
        tools = agent_toolbox(servers, {}, [function])
        (offered,) = await tools.offered()
        _, size = offered.tool.parameters["properties"]
        assert re.fullmatch(r"gr__e_[0-9a-f]{8}", size)
        assert (await tools.call("pair", {"both": [1, "a"], size: 2})).content == "(1, 'a') 2"


def test_names_of_arguments_are_plain_and_each_its_own() -> None:
    plain: dict[str, Any] = {"properties": {"a.b-c_1": {}}, "required": ["a.b-c_1"]}
    assert arguments(plain) == (plain, {})
    odd = ["filter[name]", "filter(name)", "StartTime<", "x" * 65, "filter_name_"]
    schema, own = arguments({"properties": dict.fromkeys(odd, TEXT), "required": ["StartTime<", "filter_name_"]})
    named = [*schema["properties"]]
    assert [own.get(name, name) for name in named] == odd
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) for name in named)
    assert [own.get(name, name) for name in schema["required"]] == ["StartTime<", "filter_name_"]


async def test_a_server_is_given_arguments_by_its_own_names() -> None:
    async with Servers() as servers:
        tools = agent_toolbox(servers, {"raw": raw("brackets")})
        (offered,) = await tools.offered()
        short, long = offered.tool.parameters["properties"]
        assert short.startswith("filter_name__")
        assert offered.tool.parameters["required"] == [short]
        given = await tools.call("mcp__raw__given", {short: "a", long: 2, "more": None})
        assert given.content == '{"filter[name]": "a", "created>": 2, "more": null}'


async def test_more_tools_than_a_provider_takes_are_noted() -> None:
    notes: list[str] = []
    async with Servers(notes.append) as servers:
        tools = agent_toolbox(servers, {"raw": raw("many-tools")})
        for _ in range(2):
            await tools.offered()
        few = agent_toolbox(servers, {"raw": raw("many-tools")}, allowed=[["mcp__raw__tool00*"]])
        assert len(await few.offered()) < MANY_TOOLS
    assert notes == [
        "an agent is offered 1000 tools; some providers refuse more than 128, acts and plan included: name those that it "
        "needs in its `allowed_tools`"
    ]
