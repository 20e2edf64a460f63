"""What tools are called, which are offered, what they do, and what a configuration may say of that."""

import re
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from massgen.config.tools import McpServer, McpServers, Section, server_conflicts
from massgen.toolbox import Access
from massgen.toolbox.agent import agent_toolbox, classed
from massgen.toolbox.names import fits, of_server, unlike, unmet
from massgen.toolbox.results import failed
from massgen.toolbox.schemas import flaw, mended
from massgen.toolbox.servers import Servers
from tests.mcp_servers import raw


class Some(Section):
    mcp_servers: McpServers = Field(default_factory=dict[str, McpServer])


def problems(servers: Any) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(ValidationError) as error:
        Some.model_validate({"mcp_servers": servers})
    return [(each["loc"][1:], each["msg"]) for each in error.value.errors()]


@given(st.lists(st.tuples(st.text(max_size=70), st.text(max_size=90)), max_size=6, unique=True))
def test_every_tool_has_a_name_of_its_own_that_any_provider_takes(tools: list[tuple[str, str]]) -> None:
    taken: set[str] = set()
    for server, tool in tools:
        name = of_server(server, tool, taken)
        assert name not in taken
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
        taken.add(name)


def test_a_plain_name_is_as_people_expect_and_others_are_the_same_in_every_run() -> None:
    assert of_server("files", "read_file") == "mcp__files__read_file"
    assert of_server("a", "b__c") == of_server("a__b", "c")
    assert of_server("a__b", "c", {"mcp__a__b__c"}) == "mcp__a__b__c_10f3a53f"
    assert unlike("über", "x") == "_ber_2d711642"


def test_patterns_fit_names_and_misspelt_ones_are_found() -> None:
    assert fits(["read_*"], "read_file", "mcp__files__read_file")
    assert not fits(["read_*"], "write_file")
    assert unmet(["read_*", "wirte"], ["read_file", "write"]) == ["wirte"]


@dataclass(frozen=True)
class Says:
    read_only_hint: bool | None = None
    destructive_hint: bool | None = None


@pytest.mark.parametrize(
    ("says", "access"),
    [
        (None, "write"),
        (Says(), "write"),
        (Says(read_only_hint=True), "read"),
        (Says(read_only_hint=True, destructive_hint=True), "read"),
        (Says(read_only_hint=False), "write"),
        (Says(destructive_hint=False), "write"),
        (Says(destructive_hint=True), "irreversible"),
        (Says(read_only_hint=False, destructive_hint=True), "irreversible"),
    ],
)
def test_a_tool_does_what_its_server_says_in_so_many_words(says: Says | None, access: Access) -> None:
    assert classed(says, "write") == access
    unannotated = says is None or says == Says()
    assert classed(says, "irreversible") == ("irreversible" if unannotated else access)


async def test_the_configuration_outweighs_what_a_server_says_of_its_tools() -> None:
    server = raw(access={"mcp__raw__dies": "read", "pid": "irreversible"}, unannotated="read")
    async with Servers() as servers:
        tools = await agent_toolbox(servers, {"raw": server}, access={"*__echo": "write"}).offered()
        does = {each.tool.name.removeprefix("mcp__raw__"): each.access for each in tools}
    assert (does["echo"], does["dies"], does["pid"], does["slow"]) == ("write", "read", "irreversible", "read")


async def test_lists_choose_tools_by_either_name_and_what_they_name_in_vain_is_noted() -> None:
    notes: list[str] = []
    server = raw(allowed_tools=["echo", "mcp__raw__p*", "ehco"], exclude_tools=["pid"])
    async with Servers(notes.append) as servers:
        every = [
            agent_toolbox(servers, {"raw": server}),
            agent_toolbox(servers, {"raw": server}, allowed=[["mcp__*"], ["mcp__raw__echo"]]),
            agent_toolbox(servers, {"raw": server}, excluded=["mcp__raw__echo"]),
        ]
        found = [[each.tool.name for each in await tools.offered()] for tools in every]
        assert found == [["mcp__raw__echo", "mcp__raw__parts"], ["mcp__raw__echo"], ["mcp__raw__parts"]]
        assert (await every[0].call("mcp__raw__pid", {})).content == "no tool is called 'mcp__raw__pid'"
    assert notes == ["the server 'raw' has no tool 'ehco', which the configuration names; did you mean 'echo'?"]


async def test_names_that_an_agent_is_given_are_compared_with_the_tools_of_their_server_once_they_are_known() -> None:
    notes: list[str] = []
    server = raw(access={"xyz": "read", "e*": "read"}, tool_timeouts={"slwo": 5})
    names = ["mcp__raw__ehco", "mcp__raw__q*", "mcp__other__x", "*_y", "sum"]
    async with Servers(notes.append) as servers:
        for _ in range(2):
            one = agent_toolbox(servers, {"raw": server}, allowed=[["mcp__raw__echo"]], excluded=names)
            assert [each.tool.name for each in await one.offered()] == ["mcp__raw__echo"]
            assert await one.offered() == await one.offered()
    told = [note.removeprefix("the server 'raw' has no tool ") for note in notes]
    assert told == [
        "'xyz', which the configuration names",
        "'slwo', which the configuration names; did you mean 'slow'?",
        "'mcp__raw__ehco', which the configuration names; did you mean 'mcp__raw__echo'?",
        "'mcp__raw__q*', which the configuration names",
    ]


VALID: list[Any] = [
    {},
    {"type": "object", "properties": {"a": True, "b": {"type": ["string", "null"], "enum": ["x", None]}}},
    {
        "type": "object",
        "properties": {"a": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/b"}]}},
        "$defs": {"b": {}},
    },
    {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}, "required": ["a"]},
]
BROKEN: list[Any] = [
    {"type": "object", "properties": ["a"]},
    {"type": "object", "properties": {"a": "string"}},
    {"type": "object", "properties": {"a": {"type": "text"}}},
    {"type": "object", "properties": {"a": {"anyOf": {"type": "integer"}}}},
    {"type": "object", "required": ["a", 2]},
    {"type": "object", "additionalProperties": 3},
]


@pytest.mark.parametrize("schema", VALID)
def test_a_schema_is_sound(schema: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert flaw(schema) == ""


@pytest.mark.parametrize("schema", BROKEN)
def test_a_broken_schema_is_found_as_the_specification_finds_it(schema: Any) -> None:
    with pytest.raises(jsonschema.SchemaError):
        jsonschema.Draft202012Validator.check_schema(schema)
    assert flaw(schema).startswith("its inputSchema is broken: ")


def test_schemas_are_bounded_in_depth_and_size() -> None:
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"type": "object", "properties": {"a": deep}}
    assert flaw(deep) == flaw({"properties": {str(n): {} for n in range(6_000)}})
    assert "more than 5000 parts, or 40 levels" in flaw(deep)


def test_of_many_broken_tools_some_are_named_and_the_rest_is_counted() -> None:
    listing, told = mended({"tools": [{"name": f"tool{number}"} for number in range(30)]})
    assert listing == {"tools": []}
    assert (len(told), told[-1]) == (21, "10 more tools are left out")


def test_a_long_error_is_shortened() -> None:
    assert len(failed("x y " * 10_000).content) < 2_100


def test_servers_are_a_mapping_or_a_list_and_mean_the_same() -> None:
    named = Some.model_validate({"mcp_servers": {"files": {"command": "npx", "args": ["-y"], "env": {"KEY": "v"}}}})
    listed = {"name": "files", "type": "stdio", "command": "npx", "args": ["-y"], "env": {"KEY": "v"}}
    both = [named, Some.model_validate({"mcp_servers": [{**listed, "security": {"level": "strict"}}]})]
    assert [[*each.mcp_servers] for each in both] == [["files"], ["files"]]
    first, second = (each.mcp_servers["files"] for each in both)
    assert first.is_program
    assert first.same_server(second)
    assert "'v'" not in repr(first)
    assert not first.same_server(McpServer(command="npx"))
    assert not McpServer(url="http://localhost/mcp").is_program


def test_problems_keep_their_places_in_a_list() -> None:
    assert problems([{"name": "a", "comand": "x"}, {"name": "b", "timeout": 0}]) == [
        ((0, "comand"), "Extra inputs are not permitted"),
        ((1, "timeout"), "Input should be greater than 0"),
    ]
    assert problems({"a": {"access": {"x": "all"}}}) == [
        (("a", "access", "x"), "Input should be 'read', 'write' or 'irreversible'")
    ]
    assert problems("npx") == [((), "Input should be a valid dictionary")]


def test_the_schema_for_editors_knows_both_notations() -> None:
    schema = Some.model_json_schema()
    for servers in ({"a": {"command": "x"}}, [{"name": "a", "command": "x"}]):
        jsonschema.validate({"mcp_servers": servers}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"mcp_servers": [{"comand": "x"}]}, schema)


@pytest.mark.parametrize(
    ("servers", "told"),
    [
        ({"a": {"command": "x"}, "b": {"url": "https://example.com/mcp"}}, []),
        ({"a": {}}, [(("a", "command"), "missing; a server needs the `command` that starts it, or its `url`")]),
        ({"a": {"comand": "x"}}, []),
        (
            {"a": {"type": "stdio", "url": "x"}},
            [
                (("a", "url"), "'x' is no address; one looks like http://localhost:8000/mcp"),
                (("a", "command"), "missing; a server of type stdio needs it, e.g. npx"),
            ],
        ),
        (
            {"a": {"type": "streamable-http"}},
            [(("a", "url"), "missing; a server of type streamable-http needs it, e.g. http://localhost:8000/mcp")],
        ),
        (
            {"a": {"command": "x", "url": "http://x/mcp"}},
            [(("a", "type"), "missing; with `command` and `url` it is either stdio or streamable-http")],
        ),
        (
            {
                "a": {"command": "x", "args": ["--root={workspace}"]},
                "b": {"command": "x", "args": ["{workspace}"], "workspace": False},
            },
            [(("a", "workspace"), "missing; `{workspace}` in `args` stands for a folder where it is true")],
        ),
        (
            {"a": {"name": "b", "command": "x"}},
            [(("a", "name"), "'b' is called 'a' already, by its key; leave it out")],
        ),
        (
            [{"command": "x"}, {"name": "a", "command": "x"}, {"name": "a", "command": "y"}, 3],
            [
                ((0, "name"), "missing; a server in a list needs it"),
                ((2, "name"), "two servers are called 'a'; give each its own name"),
            ],
        ),
        (7, []),
    ],
)
def test_what_each_value_alone_does_not_show_is_told_with_its_place(servers: Any, told: list[Any]) -> None:
    assert [*server_conflicts(servers)] == told


def test_the_first_pattern_that_fits_gives_a_tool_its_time() -> None:
    server = McpServer(command="x", timeout=5, tool_timeouts={"build_all": 900, "build_*": 60})
    assert [server.timeout_of(tool) for tool in ("build_all", "build_one", "read")] == [900, 60, 5]
