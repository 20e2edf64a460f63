"""The simulator speaks each provider's API: the official SDKs are its clients here, one test for all of them."""

import json
from typing import Any

import pytest

from tests import providers
from tests.providers import Hosted, Reply, Script, Simulator, Team, prose, say
from tests.providers.client import SYSTEM, Client, Heard
from tests.providers.clients import CLIENTS, talking
from tests.providers.policy import Act

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")  # by google-genai

each_wire = pytest.mark.parametrize("wire", CLIENTS)
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ("weather", PLACE)
TEAM = (
    ("new_answer", {"type": "object", "properties": {"content": {"type": "string"}}, "required": ["content"]}),
    ("vote", {"type": "object", "properties": {"reason": {"type": "string"}, "agent_id": {"enum": ["agent2", "agent1"], "type": "string"}}}),
)  # fmt: skip


async def heard(wire: str, reply: Reply, *tools: Any, **how: Any) -> Heard:
    async with talking(wire, lambda _: reply, **how) as (client, _):
        return await client.ask("Hello", *tools)


@each_wire
@streamed_or_not
async def test_a_reply_carries_text_reasoning_and_usage(wire: str, stream: bool) -> None:
    reply = say("Because.", reasoning="Hm.", input_tokens=11, output_tokens=3, chunks=3)
    got = await heard(wire, reply, stream=stream)
    assert (got.text, got.reasoning, got.usage) == ("Because.", "Hm.", (11, 3))


@each_wire
async def test_a_stream_comes_in_as_many_different_pieces_as_asked(wire: str) -> None:
    got = await heard(wire, say(prose(90), chunks=60), stream=True)
    assert (got.text, len(got.pieces)) == (prose(90), 60)


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        ("chat", ("stop", "length", "content_filter", "tool_calls")),
        ("azure", ("stop", "length", "content_filter", "tool_calls")),
        ("responses", ("completed", "max_output_tokens", "content_filter", "completed")),
        ("messages", ("end_turn", "max_tokens", "refusal", "tool_use")),
        ("gemini", ("STOP", "MAX_TOKENS", "SAFETY", "STOP")),
    ],
)
@streamed_or_not
async def test_why_it_ended_is_said_in_the_providers_word(wire: str, words: tuple[str, ...], stream: bool) -> None:
    replies = [
        say("x"),
        say("x", finish="length"),
        say("x", finish="content_filter"),
        providers.call("weather", city="x"),
    ]
    assert tuple([(await heard(wire, reply, WEATHER, stream=stream)).finish for reply in replies]) == words


@each_wire
@streamed_or_not
@pytest.mark.parametrize("model", ["m", "gemini-flash-latest"])
async def test_tools_are_called_and_their_results_answered(wire: str, stream: bool, model: str) -> None:
    acts = tuple(Act("weather", json.dumps({"city": city})) for city in ("Oslo", "Rome"))
    script = Script({"*": [Reply(text="Let me see.", acts=acts, chunks=4), say("Rain and sun.")]})
    async with talking(wire, script, stream=stream, model=model) as (client, simulator):
        first = await client.ask("Where is it warm?", WEATHER)
        last = await client.tell(first, "rain", "sun")
        asked = [record.call for record in simulator.calls]
    assert (first.text, first.calls) == ("Let me see.", [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})])
    assert last.text == "Rain and sun."
    assert [call.tools for call in asked] == [{"weather": PLACE}] * 2
    assert {"Where is it warm?", "rain", "sun"} <= words_of(asked[1].messages)


def words_of(value: Any) -> set[str]:
    """Every text in a JSON value."""
    match value:
        case str():
            return {value}
        case dict():
            return set().union(*map(words_of, value.values()))
        case list() | tuple():
            return set().union(*map(words_of, value))
        case _:
            return set()


@each_wire
async def test_the_system_prompt_comes_first_and_the_raw_request_is_kept(wire: str) -> None:
    async with talking(wire, lambda _: say("x"), model="some-model") as (client, simulator):
        await client.ask("Why?")
        (record,) = simulator.calls
    assert (record.wire, record.call.model, record.call.key) == (wire, "some-model", "sk-test")
    assert [message["role"] for message in record.call.messages] == ["system", "user"]
    assert SYSTEM in words_of(record.call.messages[0])
    assert {SYSTEM, "Why?"} <= words_of(record.body)


@each_wire
@streamed_or_not
async def test_each_agent_of_a_team_answers_votes_and_presents(wire: str, stream: bool) -> None:
    async with talking(wire, Team(votes={"m": "agent1"}), stream=stream) as (client, _):
        assert (await client.ask("Why?", *TEAM)).calls == [("new_answer", {"content": "The answer of m."})]
        client.history.clear()
        assert (await client.ask("Vote!", *TEAM)).calls == [("vote", {"reason": "It is right.", "agent_id": "agent1"})]
        client.history.clear()
        assert (await client.ask("Present!")).text == "The final answer."


FORM = {
    "type": "object",
    "properties": {"tool": {"type": "string", "enum": ["new_answer"]}, "content": {"type": "string"}},
    "required": ["tool", "content"],
    "additionalProperties": False,
}
NAMED = {"name": "act", "schema": FORM, "strict": True}
FORMATS: dict[str, dict[str, Any]] = {
    "chat": {"response_format": {"type": "json_schema", "json_schema": NAMED}},
    "azure": {"response_format": {"type": "json_schema", "json_schema": NAMED}},
    "responses": {"text": {"format": {"type": "json_schema", **NAMED}}},
    "messages": {"output_config": {"format": {"type": "json_schema", "schema": FORM}}},
    "gemini": {"response_mime_type": "application/json", "response_json_schema": FORM},
}


@each_wire
async def test_a_team_without_tools_acts_in_json_that_follows_the_schema(wire: str) -> None:
    async with talking(wire, Team()) as (client, _):
        reply = await client.ask("Why?", **FORMATS[wire])
    assert json.loads(reply.text) == {"tool": "new_answer", "content": "The answer of m."}


SEARCHED = say(
    "Rain.", hosted=(Hosted("web_search", "weather Oslo", "https://example.org/oslo"), Hosted("code", "1+1", "2"))
)


async def told(wire: str, stream: bool) -> Any:
    """The SDK's own object of a reply that used the provider's tools."""
    return (await heard(wire, SEARCHED, stream=stream)).whole


OFFERS: dict[str, tuple[dict[str, Any], str]] = {
    "responses": ({"tools": [{"type": "web_search"}]}, "web_search"),
    "messages": ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
    "gemini": ({"tools": [{"google_search": {}}]}, "googleSearch"),
}


@pytest.mark.parametrize("wire", OFFERS)
async def test_a_policy_is_told_the_providers_own_tools_by_their_names_there(wire: str) -> None:
    offer, name = OFFERS[wire]
    async with talking(wire, lambda _: say("x")) as (client, simulator):
        await client.ask("Why?", **offer)
        assert simulator.calls[0].call.hosted == (name,)
        assert not simulator.calls[0].call.tools


@streamed_or_not
async def test_openais_own_tools_are_items_of_the_output(stream: bool) -> None:
    search, code, message = (await told("responses", stream)).output
    assert (search.type, search.action.query, search.status) == ("web_search_call", "weather Oslo", "completed")
    assert (code.type, code.code, code.outputs[0].logs) == ("code_interpreter_call", "1+1", "2")
    assert message.content[0].annotations[0].url == "https://example.org/oslo"


@streamed_or_not
async def test_anthropics_own_tools_are_blocks_of_the_content(stream: bool) -> None:
    message = await told("messages", stream)
    asked, found, wrote, ran, said = message.content
    assert (asked.type, asked.name, asked.input) == ("server_tool_use", "web_search", {"query": "weather Oslo"})
    assert (found.tool_use_id, found.content[0].url) == (asked.id, "https://example.org/oslo")
    assert (wrote.input, ran.content.stdout, said.text) == ({"code": "1+1"}, "2", "Rain.")
    assert message.usage.server_tool_use.web_search_requests == 1


@streamed_or_not
async def test_googles_own_tools_are_parts_of_the_content_and_what_it_rests_on(stream: bool) -> None:
    async with talking("gemini", lambda _: SEARCHED, stream=stream) as (client, _):
        code, ran, said = (await client.ask()).whole
        grounded = await client.sdk.aio.models.generate_content(model="m", contents="Why?")
    assert (code.executable_code.code, ran.code_execution_result.output, said.text) == ("1+1", "2", "Rain.")
    metadata = grounded.candidates[0].grounding_metadata
    assert metadata.web_search_queries == ["weather Oslo"]
    assert metadata.grounding_chunks[0].web.uri == "https://example.org/oslo"


@streamed_or_not
async def test_chat_completions_cite_the_pages_that_were_found(stream: bool) -> None:
    async with talking("chat", lambda _: SEARCHED) as (client, _):
        reply = await client.sdk.chat.completions.create(model="m", messages=[client.question("Why?")], stream=stream)
        if stream:
            deltas = [chunk.choices[0].delta async for chunk in reply]
            cited = [page["url_citation"]["url"] for delta in deltas for page in getattr(delta, "annotations", ())]
        else:
            cited = [page.url_citation.url for page in reply.choices[0].message.annotations]
    assert cited == ["https://example.org/oslo"]


async def test_models_are_listed_to_each_sdk() -> None:
    async with Simulator(Team(), models=("a", "b")) as simulator:
        clients: dict[str, Client] = {wire: CLIENTS[wire](simulator.url) for wire in ("chat", "messages", "gemini")}
        assert [model.id async for model in clients["chat"].sdk.models.list()] == ["a", "b"]
        assert [model.id async for model in clients["messages"].sdk.models.list()] == ["a", "b"]
        listed = await clients["gemini"].sdk.aio.models.list()
        assert [model.name async for model in listed] == ["models/a", "models/b"]
        for client in clients.values():
            await client.aclose()
