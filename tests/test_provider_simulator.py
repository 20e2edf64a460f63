"""The simulator speaks the real wire format: the official SDK is its client here."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import openai
import pytest

from tests import providers
from tests.providers import Policy, Script, Simulator, Team, paced, prose, say

QUESTION: list[Any] = [{"role": "user", "content": "Why is the sky blue?"}]


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


NEW_ANSWER = tool("new_answer", content={"type": "string"})
VOTE = tool("vote", reason={"type": "string"}, agent_id={"enum": ["agent2", "agent1"]})


@asynccontextmanager
async def client_of(
    policy: Policy, *, key: str = "sk-test", **how: Any
) -> AsyncIterator[tuple[openai.AsyncOpenAI, Simulator]]:
    async with Simulator(policy, **how) as simulator:
        http = openai.DefaultAsyncHttpxClient(follow_redirects=False)
        async with openai.AsyncOpenAI(base_url=simulator.base_url, api_key=key, max_retries=0, http_client=http) as sdk:
            yield sdk, simulator


async def ask(sdk: openai.AsyncOpenAI, *tools: Any, model: str = "m", **how: Any) -> Any:
    offered = {"tools": list(tools)} if tools else {}
    return await sdk.chat.completions.create(model=model, messages=QUESTION, **offered, **how)


async def test_a_whole_reply_carries_text_reasoning_finish_and_usage() -> None:
    reply = say("Because.", reasoning="Hm.", input_tokens=11, output_tokens=3, finish="length")
    async with client_of(lambda _: reply) as (sdk, _):
        answer = await ask(sdk)
    assert answer.choices[0].message.content == "Because."
    assert answer.choices[0].message.reasoning_content == "Hm."
    assert answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (11, 3, 14)


async def test_a_streamed_reply_comes_in_as_many_different_pieces_as_asked() -> None:
    async with client_of(lambda _: say(prose(300), chunks=200)) as (sdk, _):
        stream = await ask(sdk, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces) == prose(300)
    assert len(pieces) == 200
    assert len(set(pieces)) > 100
    assert chunks[-1].usage.completion_tokens == 5


async def test_usage_is_streamed_only_to_those_who_ask() -> None:
    async with client_of(lambda _: say("x")) as (sdk, _):
        chunks = [chunk async for chunk in await ask(sdk, stream=True)]
    assert all(chunk.usage is None for chunk in chunks)


async def test_tool_calls_arrive_whole_or_in_pieces() -> None:
    reply = providers.call("vote", reason="It is right.", agent_id="agent1")
    async with client_of(paced(lambda _: reply, chunks=5)) as (sdk, _):
        whole = await ask(sdk, VOTE)
        pieces = [chunk.choices[0].delta.tool_calls async for chunk in await ask(sdk, VOTE, stream=True)]
    called = whole.choices[0].message.tool_calls[0]
    assert (called.function.name, whole.choices[0].finish_reason) == ("vote", "tool_calls")
    assert json.loads(called.function.arguments)["agent_id"] == "agent1"
    streamed = [piece[0].function.arguments for piece in pieces if piece]
    assert len(streamed) == 1 + 5
    assert "".join(streamed) == called.function.arguments


async def test_models_are_listed() -> None:
    async with client_of(Team(), models=("a", "b")) as (sdk, _):
        assert [model.id async for model in sdk.models.list()] == ["a", "b"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_an_error_status_is_the_sdks_error(status: int, error: type[openai.APIStatusError]) -> None:
    reply = providers.fault(status=status, message="no luck", headers={"retry-after": "7"})
    async with client_of(lambda _: reply) as (sdk, _):
        with pytest.raises(error, match="no luck") as raised:
            await ask(sdk)
    assert raised.value.response.headers["retry-after"] == "7"


async def test_an_error_may_be_a_page() -> None:
    reply = providers.fault(status=502, body=b"<html>Bad gateway</html>", headers={"content-type": "text/html"})
    async with client_of(lambda _: reply) as (sdk, _):
        with pytest.raises(openai.InternalServerError, match="Bad gateway"):
            await ask(sdk)


async def test_a_wrong_key_is_refused_and_the_right_one_accepted() -> None:
    async with client_of(Team(), keys={"sk-test"}) as (sdk, _):
        await ask(sdk)
        with pytest.raises(openai.AuthenticationError):
            await ask(sdk.with_options(api_key="sk-other"))


@pytest.mark.parametrize("reply", [providers.cut(after=0), providers.cut(after=3)])
async def test_a_cut_stream_is_a_connection_error(reply: providers.Reply) -> None:
    async with client_of(lambda _: reply) as (sdk, simulator):
        with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
            _ = [chunk async for chunk in await ask(sdk, stream=True)]
        await simulator.until(lambda: simulator.calls[0].ended is not None)
        assert not simulator.calls[0].disconnected


async def test_a_silent_stream_lasts_until_the_client_leaves_and_the_server_sees_it_go() -> None:
    async with client_of(lambda _: providers.hang(after=2)) as (sdk, simulator):
        stream = await ask(sdk, stream=True)
        seen = [await anext(stream) for _ in range(2)]
        assert [chunk.choices[0].delta.content for chunk in seen] == ["a", " b"]
        await stream.close()
        await simulator.until(lambda: simulator.calls[0].disconnected)


async def test_a_server_with_a_silent_stream_still_closes() -> None:
    async with Simulator(lambda _: providers.hang()) as simulator, aiohttp.ClientSession() as session:
        body = {"model": "m", "messages": QUESTION}
        asking = asyncio.ensure_future(session.post(f"{simulator.base_url}/chat/completions", json=body))
        await simulator.until(lambda: any(record.call for record in simulator.calls))
        await simulator.__aexit__()
        with pytest.raises(aiohttp.ClientError):
            await asking


async def test_a_closed_gate_holds_the_reply() -> None:
    gate = asyncio.Event()
    async with client_of(lambda _: say("x", gate=gate)) as (sdk, simulator):
        asking = asyncio.ensure_future(ask(sdk))
        await simulator.until(lambda: any(record.call for record in simulator.calls))
        assert simulator.calls[0].ended is None
        gate.set()
        assert (await asking).choices[0].message.content == "x"


async def test_raw_bytes_and_other_content_types_pass_unchanged() -> None:
    async with client_of(lambda _: providers.raw("data: {\n\n")) as (sdk, _):
        with pytest.raises(json.JSONDecodeError):
            _ = [chunk async for chunk in await ask(sdk, stream=True)]
    async with client_of(lambda _: providers.raw("<html>", "text/html")) as (sdk, _):
        assert await ask(sdk) == "<html>"


async def test_a_stream_that_was_asked_for_may_be_one_document_all_the_same() -> None:
    async with Simulator(lambda _: say("x", streamed=False)) as simulator, aiohttp.ClientSession() as session:
        body = {"model": "m", "messages": QUESTION, "stream": True}
        async with session.post(f"{simulator.base_url}/chat/completions", json=body) as response:
            assert (await response.json())["choices"][0]["message"]["content"] == "x"


async def test_a_redirect_names_the_new_place() -> None:
    async with client_of(lambda _: providers.redirect("http://127.0.0.1:1/v1")) as (sdk, _):
        with pytest.raises(openai.APIStatusError) as raised:
            await ask(sdk)
    assert raised.value.response.headers["location"] == "http://127.0.0.1:1/v1"


async def test_what_is_no_chat_completion_is_refused() -> None:
    async with Simulator(Team(), prefix="/api") as simulator, aiohttp.ClientSession() as session:
        for content in (b"{", b"{}", b"[]"):
            async with session.post(f"{simulator.base_url}/chat/completions", data=content) as response:
                assert response.status == 400
        async with session.get(simulator.base_url.replace("/api", "") + "/models") as response:
            assert response.status == 404


async def test_every_request_is_recorded() -> None:
    async with client_of(Team()) as (sdk, simulator):
        await ask(sdk, NEW_ANSWER)
        await ask(sdk, VOTE)
        first, second = simulator.calls
        assert first.body["messages"] == QUESTION
        assert first.size == len(json.dumps(first.body, separators=(",", ":")))
        assert first.headers["Authorization"] == "Bearer sk-test"
        assert first.received < (first.ended or 0) <= second.received
        assert len(simulator.connections) == 1


async def test_each_agent_of_a_team_answers_votes_and_presents() -> None:
    async with client_of(Team(votes={"b": "agent1"})) as (sdk, _):
        for model, label in (("a", "agent2"), ("b", "agent1")):
            answer = (await ask(sdk, NEW_ANSWER, VOTE, model=model)).choices[0].message.tool_calls[0].function
            assert (answer.name, json.loads(answer.arguments)) == ("new_answer", {"content": f"The answer of {model}."})
            vote = (await ask(sdk, NEW_ANSWER, VOTE, model=model)).choices[0].message.tool_calls[0].function
            assert json.loads(vote.arguments) == {"reason": "It is right.", "agent_id": label}
            final = await ask(sdk, model=model)
            assert final.choices[0].message.content == "The final answer."


async def test_a_team_without_tools_acts_in_json_that_follows_the_schema() -> None:
    form = {"type": "object", "properties": {"tool": {"const": "new_answer"}, "content": {"type": "string"}}}
    schema = {"type": "json_schema", "json_schema": {"name": "act", "schema": {"anyOf": [form]}}}
    async with client_of(Team()) as (sdk, _):
        reply = await ask(sdk, response_format=schema)
    assert json.loads(reply.choices[0].message.content) == {"tool": "new_answer", "content": "The answer of m."}


async def test_a_team_calls_an_unknown_tool_with_the_simplest_arguments() -> None:
    other = tool("other", n={"type": "integer"}, s={"type": "string"}, c={"const": 3})
    async with client_of(Team()) as (sdk, _):
        called = (await ask(sdk, other)).choices[0].message.tool_calls[0].function
    assert (called.name, json.loads(called.arguments)) == ("other", {"n": 1, "s": "s", "c": 3})


async def test_a_script_plays_each_agents_replies_in_order_and_then_complains() -> None:
    script = Script({"a": [say("1"), say("2")], "*": [say("other")]})
    async with client_of(script) as (sdk, _):
        assert [(await ask(sdk, model="a")).choices[0].message.content for _ in range(2)] == ["1", "2"]
        assert (await ask(sdk, model="b")).choices[0].message.content == "other"
        with pytest.raises(openai.APIStatusError, match="only 2 replies"):
            await ask(sdk, model="a")
    async with client_of(Script({})) as (sdk, _):
        with pytest.raises(openai.APIStatusError, match="no script for 'm'"):
            await ask(sdk)


async def test_as_a_process_it_prints_its_address_counts_and_ends_with_its_stdin() -> None:
    command = [sys.executable, "-m", "tests.providers", "--latency-ms", "1", "--chunks", "3", "--chunk-delay-ms", "1"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    base_url = json.loads(await process.stdout.readline())["base_url"]
    async with openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0) as sdk:
        chunks = [chunk async for chunk in await ask(sdk, NEW_ANSWER, stream=True)]
    assert len(chunks) == 1 + 3 + 1
    async with aiohttp.ClientSession(base_url.removesuffix("v1")) as session:
        async with session.get("/_requests") as response:
            summary = await response.json()
        assert (summary["calls"], summary["connections"], summary["disconnected"]) == (1, 1, 0)
        assert summary["bytes"] > 200
        async with session.delete("/_requests") as response:
            assert response.status == 204
        async with session.get("/_requests") as response:
            assert (await response.json())["calls"] == 0
    process.stdin.close()
    assert await process.wait() == 0
