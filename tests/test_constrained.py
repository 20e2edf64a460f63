"""Tools by JSON, against the simulator and jsonschema."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from massgen.backends import Backend, Request, Tool
from massgen.backends.chat_completions import ChatCompletions, HttpPool
from massgen.backends.constrained import Constrained, constrain, schema_of
from massgen.backends.gateway import Gateway
from massgen.backends.local import Local
from massgen.backends.local_server import LocalServer
from massgen.backends.responses import RESPONSES
from massgen.errors import BackendError
from massgen.messages import (
    Finish,
    Media,
    Message,
    ReasoningDelta,
    Reply,
    Text,
    TextDelta,
    ToolCall,
    Usage,
    system,
    tool_result,
    user,
)
from massgen.testing import ScriptedBackend, calls, check_backend
from tests.conftest import SMALLEST
from tests.providers import Policy, Simulator, Team, say

CONTENT = {"type": "object", "properties": {"content": {"type": "string", "maxLength": 50}}}
NEW_ANSWER = Tool("new_answer", "Give an\nanswer.", CONTENT)
BALLOT = {"reason": {"type": "string"}, "agent_id": {"type": "string", "enum": ["agent1", "agent2"]}}
VOTE = Tool("vote", "Vote.", {"type": "object", "properties": BALLOT})
BOTH = (NEW_ANSWER, VOTE)
ASK = user("Why is the sky blue?")


@asynccontextmanager
async def model_of(policy: Policy) -> AsyncGenerator[tuple[Constrained, Simulator]]:
    async with Simulator(policy) as simulator, HttpPool() as pool:
        yield Constrained(ChatCompletions(pool, base_url=simulator.base_url, model="m")), simulator


async def reply_to(text: str, *tools: Tool) -> Reply:
    reply = Reply()
    async with (
        model_of(lambda _: say(text, chunks=7)) as (backend, _),
        aclosing(backend.stream(Request([ASK], tools))) as chunks,
    ):
        async for chunk in chunks:
            reply.add(chunk)
    return reply


async def test_it_is_a_backend() -> None:
    async with model_of(say_hello) as (backend, _):
        await check_backend(backend)


def say_hello(_: Any) -> Any:
    return say("Hello.", reasoning="Hm.")


async def test_a_team_answers_and_votes_without_tools() -> None:
    async with model_of(Team()) as (backend, simulator):
        acts: list[ToolCall] = []
        for _ in range(2):
            reply = Reply()
            async for chunk in backend.stream(Request([ASK], BOTH)):
                reply.add(chunk)
            acts += reply.message.tool_calls
            assert reply.message.text == ""
            assert (reply.finish, reply.usage) == ("tool_calls", Usage(7, 5))
    assert [act.name for act in acts] == ["new_answer", "vote"]
    assert json.loads(acts[1].arguments) == {"reason": "It is right.", "agent_id": "agent1"}
    assert all("tools" not in record.body for record in simulator.calls)


Serving = Callable[[Simulator, HttpPool], Backend]
WIRES: dict[str, Serving] = {
    "chat completions": lambda sim, pool: ChatCompletions(pool, base_url=sim.base_url, model="m"),
    "Responses": lambda sim, pool: ChatCompletions(pool, base_url=sim.base_url, model="m", api_key="k", wire=RESPONSES),
    "Anthropic": lambda sim, _: Gateway("anthropic/claude-sonnet-4-5", api_key="k", base_url=sim.url),
    "Gemini": lambda sim, _: Gateway("gemini/gemini-3-flash-preview", api_key="k", base_url=sim.address("gemini")),
    "Azure": lambda sim, _: Gateway("azure/gpt-5-mini", api_key="k", base_url=sim.url),
}


@pytest.mark.timeout(60)  # importing litellm takes seconds
@pytest.mark.filterwarnings("ignore:Accessing the '.*' attribute on the instance is deprecated")
@pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier")
@pytest.mark.parametrize("wire", WIRES)
async def test_every_provider_takes_the_schema_whole_and_a_team_acts_by_it(wire: str) -> None:
    async with Simulator(Team()) as simulator, HttpPool() as pool:
        backend = Constrained(WIRES[wire](simulator, pool))
        acts: list[ToolCall] = []
        for _ in range(2):
            reply = Reply()
            async for chunk in backend.stream(Request([ASK], BOTH)):
                reply.add(chunk)
            acts += reply.message.tool_calls
        await backend.aclose()
        taken = simulator.calls[0].call
    assert [act.name for act in acts] == ["new_answer", "vote"]
    assert json.loads(acts[1].arguments) == {"reason": "It is right.", "agent_id": "agent1"}
    assert taken
    assert taken.schema
    forms = taken.schema["properties"]["call"]["anyOf"]
    assert [form["properties"]["tool"]["enum"] for form in forms] == [["new_answer"], ["vote"]]


@pytest.mark.local_model
@pytest.mark.timeout(120)
async def test_a_local_model_is_held_to_the_forms(model: Path) -> None:
    server = LocalServer(model)
    try:
        async with HttpPool() as pool:
            backend = Constrained(Local(server, pool, SMALLEST, seed=1))
            reply = Reply()
            async for chunk in backend.stream(Request([user("What is the capital of France?")], BOTH)):
                reply.add(chunk)
    finally:
        await server.aclose()
    (act,) = reply.message.tool_calls
    jsonschema.validate(json.loads(act.arguments), {tool.name: tool.parameters for tool in BOTH}[act.name])


async def test_a_choice_at_the_root_would_be_refused_as_openai_does() -> None:
    form: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    async with Simulator(Team()) as simulator, HttpPool() as pool:
        for wire in ("chat completions", "Responses"):
            backend = WIRES[wire](simulator, pool)
            with pytest.raises(
                BackendError, match="schema must be a JSON Schema of 'type: \"object\"', got 'type: \"None\"'"
            ):
                _ = [chunk async for chunk in backend.stream(Request([ASK], schema={"anyOf": [form]}))]


async def test_the_request_names_the_forms_and_carries_their_schema() -> None:
    async with model_of(Team()) as (backend, simulator):
        _ = [chunk async for chunk in backend.stream(Request([system("Be brief."), ASK], BOTH))]
    body = simulator.calls[0].body
    assert body["response_format"]["json_schema"]["schema"] == schema_of(BOTH)
    assert body["messages"][0]["content"] == "Be brief."
    assert body["messages"][1]["content"] == (
        "Why is the sky blue?\n\nReply with one JSON object and nothing else, in one of these forms:\n"
        '{"call": {"tool": "new_answer", "content": <string>}} - Give an answer.\n'
        '{"call": {"tool": "vote", "reason": <string>, "agent_id": "agent1" or "agent2"}} - Vote.'
    )


async def test_reasoning_passes_at_once_and_text_at_the_end() -> None:
    async with model_of(lambda _: say("No idea.", reasoning="Hm.", chunks=3)) as (backend, _):
        chunks = [chunk async for chunk in backend.stream(Request([ASK], BOTH))]
    assert chunks == [ReasoningDelta("Hm."), TextDelta("No idea."), Usage(7, 5), Finish("stop")]


async def test_without_tools_text_streams_as_it_comes() -> None:
    async with model_of(lambda _: say('{"tool": "vote"}', chunks=2)) as (backend, _):
        chunks = [chunk async for chunk in backend.stream(Request([ASK], schema={"type": "object"}))]
    assert chunks[:2] == [TextDelta('{"tool":'), TextDelta(' "vote"}')]


@pytest.mark.parametrize(
    "text",
    [
        '{"call": {"tool": "vote", "reason": "r", "agent_id": "agent1"}}',
        '```json\n{"call": {"tool": "vote", "reason": "r", "agent_id": "agent1"}}\n```',
        '{"tool": "vote", "reason": "r", "agent_id": "agent1"}',
        ' \n{"tool": "vote", "reason": "r", "agent_id": "agent1"}\n',
        '```json\n{"tool": "vote", "reason": "r", "agent_id": "agent1"}\n```',
        '```\n{"agent_id": "agent1",\n"reason": "r", "tool": "vote"}\n```\n',
    ],
)
async def test_a_json_object_alone_or_in_a_fence_is_a_call(text: str) -> None:
    (call,) = (await reply_to(text, *BOTH)).message.tool_calls
    assert call.name == "vote"
    assert json.loads(call.arguments) == {"reason": "r", "agent_id": "agent1"}


async def test_a_raw_line_break_inside_a_string_is_accepted() -> None:
    (call,) = (await reply_to('{"tool": "new_answer", "content": "one\ntwo é"}', NEW_ANSWER)).message.tool_calls
    assert json.loads(call.arguments) == {"content": "one\ntwo é"}
    assert "é" in call.arguments


@pytest.mark.parametrize(
    "text",
    [
        'I could vote with {"tool": "vote", "reason": "r", "agent_id": "agent1"} but I will not.',
        'For example:\n```json\n{"tool": "vote", "reason": "r", "agent_id": "agent1"}\n```',
        '```json\n{"tool": "vote"}\n```\nor\n```json\n{"tool": "vote"}\n```',
        '{"tool": "rm", "path": "/"}',
        '{"tool": ["vote"]}',
        '{"call": "vote"}',
        '{"call": {"tool": "vote", "reason": "r", "agent_id": "agent1"}, "reason": "r"}',
        '{"reason": "r", "agent_id": "agent1"}',
        '"vote"',
        '{"tool": "vote"',
        "[" * 100_000,
    ],
    ids=[
        "in prose",
        "fence after prose",
        "two fences",
        "unknown",
        "list",
        "no form",
        "beside",
        "unnamed",
        "string",
        "cut",
        "deep",
    ],
)
async def test_everything_else_stays_text(text: str) -> None:
    reply = await reply_to(text, *BOTH)
    assert reply.message == Message("assistant", (Text(text),))
    assert reply.finish == "stop"


async def test_an_empty_reply_stays_empty() -> None:
    assert (await reply_to("", *BOTH)).message.parts == ()


async def test_native_calls_of_a_model_that_makes_them_anyway_pass() -> None:
    backend = Constrained(ScriptedBackend([calls("vote", reason="r")]))
    chunks = [chunk async for chunk in backend.stream(Request([ASK], BOTH))]
    assert chunks == calls("vote", reason="r")


def test_one_tool_is_one_form_and_several_are_alternatives_inside_an_object() -> None:
    vote = schema_of([VOTE])
    assert [*vote["properties"]["call"]["properties"]] == ["tool", "reason", "agent_id"]
    right = {"tool": "vote", "reason": "r", "agent_id": "agent2"}
    for schema in (vote, schema_of(BOTH)):
        jsonschema.validate({"call": right}, schema)
        for wrong in (
            right,
            {"call": {"tool": "vote", "reason": "r"}},
            {"call": {**right, "x": 1}},
            {"call": right, "x": 1},
        ):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(wrong, schema)
    jsonschema.validate({"call": {"tool": "new_answer", "content": "c"}}, schema_of(BOTH))
    assert schema_of(BOTH)["properties"]["call"]["anyOf"][0]["properties"]["content"]["maxLength"] == 50


def test_definitions_that_a_tool_refers_to_stay_reachable() -> None:
    step = {"type": "object", "properties": {"text": {"type": "string"}}}
    given = {"properties": {"steps": {"type": "array", "items": {"$ref": "#/$defs/Step"}}}, "$defs": {"Step": step}}
    schema = schema_of([Tool("plan", "", given), VOTE])
    jsonschema.validate({"call": {"tool": "plan", "steps": [{"text": "a"}]}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"call": {"tool": "plan", "steps": ["a"]}}, schema)


def drawing(name: str, **point: Any) -> Tool:
    """A tool whose one parameter is a `Point`, by reference."""
    given = {"properties": {"at": {"$ref": "#/$defs/Point"}}, "$defs": {"Point": point}}
    return Tool(name, "", given)


def test_definitions_of_one_name_are_each_tools_own() -> None:
    tools = [drawing("plot", type="array", items={"$ref": "#/$defs/Point"}), drawing("mark", type="integer")]
    schema = schema_of(tools)
    for right in ('{"tool": "plot", "at": [[], [[]]]}', '{"tool": "mark", "at": 3}'):
        jsonschema.validate({"call": json.loads(right)}, schema)
    for wrong in ('{"tool": "plot", "at": 3}', '{"tool": "plot", "at": [3]}', '{"tool": "mark", "at": []}'):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"call": json.loads(wrong)}, schema)


def test_references_to_other_places_than_definitions_lead_where_they_did() -> None:
    tree = {"properties": {"size": {"type": "integer"}, "also": {"$ref": "#/properties/size"}, "below": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}  # fmt: skip
    old = {"properties": {"n": {"$ref": "#/definitions/N"}}, "definitions": {"N": {"type": "integer"}}}
    web = {"properties": {"any": {"anyOf": [{"$ref": "https://example.com/schema"}, True]}}}
    schema = schema_of([Tool("grow", "", tree), Tool("count", "", old), Tool("fetch", "", web)])
    jsonschema.validate({"call": {"tool": "grow", "size": 1, "also": 2, "below": {"size": 3}}}, schema)
    jsonschema.validate({"call": {"tool": "count", "n": 1}}, schema)
    assert schema["properties"]["call"]["anyOf"][2]["properties"]["any"] == web["properties"]["any"]
    for wrong in ({"tool": "grow", "size": 1, "also": "x", "below": None}, {"tool": "count", "n": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"call": wrong}, schema)


def test_a_tool_without_parameters_has_a_form_too() -> None:
    request = constrain(Request([ASK], [Tool("stop", "", {}), Tool("odd", "", {"properties": {"a": True}})]))
    assert '{"call": {"tool": "stop"}} - ' in request.messages[0].text
    assert '{"call": {"tool": "odd", "a": <value>}} - ' in request.messages[0].text


def test_a_parameter_with_the_reserved_name_is_an_error() -> None:
    with pytest.raises(BackendError, match="'tool'"):
        schema_of([Tool("f", "", {"properties": {"tool": {}}})])


def test_the_history_shows_calls_as_json_and_results_as_words_of_the_user() -> None:
    search, broken = ToolCall("1", "search", '{"q": "é"}'), ToolCall("2", "vote", "{oops")
    history = [
        ASK,
        Message("assistant", (Text("Let me see."), search, broken)),
        tool_result(search, "Rayleigh"),
        tool_result(broken, "not JSON", is_error=True),
        user("Go on."),
    ]
    messages = constrain(Request(history)).messages
    assert [message.role for message in messages] == ["user", "assistant", "user"]
    assert messages[1].text == 'Let me see.\n{"call": {"tool": "search", "q": "é"}}\n{oops'
    assert messages[2].text == "Result of search:\nRayleigh\n\nvote failed:\nnot JSON\n\nGo on."


def test_the_instruction_follows_the_last_words_of_the_user_and_media_stay() -> None:
    picture = Media("image", "image/png", data="QQ==")
    history = [user("Look.", (picture,)), Message("assistant", (Text("Hm."),))]
    first, second = constrain(Request(history, [VOTE])).messages
    assert first.text.startswith("Look.\n\nReply with one JSON object and nothing else, in this form:")
    assert picture in first.parts
    assert second.text == "Hm."


def test_where_the_user_said_nothing_the_instruction_is_a_message_of_its_own() -> None:
    messages = constrain(Request([system("Be brief.")], [VOTE])).messages
    assert [message.role for message in messages] == ["system", "user"]
