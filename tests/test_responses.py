"""OpenAI's Responses API over real sockets, against the simulator."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from massgen.backends import Request, Tool
from massgen.backends.chat_completions import ChatCompletions, HttpPool
from massgen.backends.responses import RESPONSES, ResponseDecoder
from massgen.errors import BackendError
from massgen.messages import (
    Chunk,
    Finish,
    Media,
    Message,
    ReasoningDelta,
    Reply,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    system,
    tool_result,
    user,
)
from massgen.testing import check_backend
from tests import providers
from tests.providers import Act, Hosted, Simulator, cut, fault, raw, say

ASK = Request([user("Why is the sky blue?")])
VOTE = Tool("vote", "Votes.", {"type": "object", "properties": {"agent_id": {"type": "string"}}})


@asynccontextmanager
async def model_of(reply: providers.Reply, **options: Any) -> AsyncIterator[tuple[ChatCompletions, Simulator]]:
    async with Simulator(lambda _: reply) as simulator, HttpPool() as pool:
        backend = ChatCompletions(
            pool, base_url=simulator.base_url, model="m", api_key="sk-key-0123456789", options=options, wire=RESPONSES
        )
        yield backend, simulator


async def chunks_of(reply: providers.Reply, request: Request = ASK) -> list[Chunk]:
    async with model_of(reply) as (backend, _):
        return [chunk async for chunk in backend.stream(request)]


async def sent_by(request: Request, **options: Any) -> dict[str, Any]:
    async with model_of(say("{}"), **options) as (backend, simulator):
        assert [chunk async for chunk in backend.stream(request)]
        (sent,) = simulator.calls
        assert (sent.path, sent.headers["Authorization"]) == ("/v1/responses", "Bearer sk-key-0123456789")
        return sent.body


async def failure(reply: providers.Reply) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await chunks_of(reply)
    return caught.value


async def test_it_is_a_backend() -> None:
    async with model_of(say("Hello there", chunks=3)) as (backend, _):
        await check_backend(backend)


async def test_text_and_thoughts_arrive_in_pieces_and_the_reply_ends_with_usage_and_finish() -> None:
    got = await chunks_of(say("Good morning", reasoning="Hm.", chunks=2))
    assert got == [
        ReasoningDelta("H"),
        ReasoningDelta("m."),
        TextDelta("Good m"),
        TextDelta("orning"),
        Usage(7, 5),
        Finish("stop"),
    ]


async def test_calls_arrive_in_pieces_and_the_providers_own_are_passed_over() -> None:
    own = (Hosted("web_search", "sky", "https://a.example"), Hosted("code", "print(1)", "1"))
    acts = (Act("vote", '{"agent_id": "agent1"}', "call_a"), Act("vote", "{}", "call_b"))
    got = await chunks_of(providers.Reply(text="Blue.", hosted=own, acts=acts, chunks=2), Request([user("?")], [VOTE]))
    assert [chunk for chunk in got if isinstance(chunk, ToolCallDelta)] == [
        ToolCallDelta(0, "call_a", "vote"),
        ToolCallDelta(0, arguments='{"agent_id"'),
        ToolCallDelta(0, arguments=': "agent1"}'),
        ToolCallDelta(1, "call_b", "vote"),
        ToolCallDelta(1, arguments="{"),
        ToolCallDelta(1, arguments="}"),
    ]
    assert got[-1] == Finish("tool_calls")


async def test_a_stream_without_usage_ends_with_its_finish() -> None:
    got = await chunks_of(raw(told(type="response.completed", response={})))
    assert got == [Finish("stop")]


async def test_a_server_that_does_not_stream_is_understood() -> None:
    got = await chunks_of(providers.Reply(text="Blue.", reasoning="Hm.", acts=(Act("vote", "{}"),), streamed=False))
    assert got == [
        TextDelta("Blue."),
        ToolCallDelta(0, "call_0", "vote"),
        ToolCallDelta(0, arguments="{}"),
        Usage(7, 5),
        Finish("tool_calls"),
    ]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_a_reply_that_was_ended_early_says_why(reason: str) -> None:
    assert (await chunks_of(say("Blu", finish=reason)))[-1] == Finish(reason)


async def test_the_request_carries_the_whole_conversation() -> None:
    made = ToolCall("call_1", "vote", '{"agent_id": "agent9"}')
    conversation = [
        system("Be brief."),
        user(
            "Look", (Media("image", "image/png", data="aGk="), Media("file", "text/plain", url="https://a.example/b"))
        ),
        Message("assistant", (Text("I vote."), made)),
        tool_result(made, "No such agent.", is_error=True),
        user("Read", (Media("file", "application/pdf", data="aGk=", name="a.pdf"),)),
    ]
    body = await sent_by(Request(conversation, [VOTE]))
    assert body["input"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look"},
                {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
                {"type": "input_file", "file_url": "https://a.example/b"},
            ],
        },
        {"role": "assistant", "content": "I vote."},
        {"type": "function_call", "call_id": "call_1", "name": "vote", "arguments": '{"agent_id": "agent9"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "No such agent."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Read"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
            ],
        },
    ]
    (tool,) = body["tools"]
    assert (tool["name"], tool["parameters"], tool["strict"]) == ("vote", VOTE.parameters, False)
    assert (body["stream"], body["store"]) == (True, False)


async def test_an_empty_message_is_left_out() -> None:
    body = await sent_by(Request([user("?"), Message("assistant", ())]))
    assert body["input"] == [{"role": "user", "content": "?"}]


async def test_a_schema_and_the_verbosity_share_a_field_and_extra_fields_win() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    options = {"text": {"verbosity": "low"}, "temperature": 0.5, "extra_body": {"store": True, "temperature": 1}}
    body = await sent_by(Request([user("?")], schema=schema), **options)
    assert body["text"]["verbosity"] == "low"
    assert body["text"]["format"] == {"type": "json_schema", "name": "reply", "schema": schema, "strict": True}
    assert (body["temperature"], body["store"]) == (1, True)
    assert "tools" not in body


async def test_what_the_api_refuses_is_told_in_its_words() -> None:
    async with model_of(say("Hi"), seed=1) as (backend, _):
        with pytest.raises(BackendError, match="Unknown parameter: 'seed'") as caught:
            _ = [chunk async for chunk in backend.stream(ASK)]
    assert not caught.value.transient


async def test_failures_are_those_of_chat_completions() -> None:
    assert (await failure(fault(status=503, message="Busy."))).transient
    assert not (await failure(fault(status=401, message="No."))).transient
    assert "cut off" in (await failure(cut(after=6))).what
    assert "`output`" in (await failure(raw(b"{}", content_type="application/json"))).what


def told(**event: Any) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()


@pytest.mark.parametrize(
    ("code", "transient"),
    [("rate_limit_exceeded", True), ("server_error", True), ("invalid_prompt", False), (None, True)],
)
async def test_a_response_that_failed_says_whether_to_try_again(code: str | None, *, transient: bool) -> None:
    error = {"code": code, "message": "It broke."}
    for event in (told(type="response.failed", response={"error": error}), told(type="error", **error)):
        caught = await failure(raw(event))
        assert caught.what.startswith("It broke.")
        assert caught.transient is transient


def chunks(*events: dict[str, Any]) -> list[Chunk]:
    decoder = ResponseDecoder()
    return [chunk for event in events for chunk in decoder.chunks(event)]


def test_a_call_that_comes_whole_is_whole() -> None:
    item = {"type": "function_call", "name": "vote", "call_id": "c", "arguments": '{"agent_id": "a"}'}
    reply = Reply()
    for chunk in chunks(
        {"type": "response.output_item.added", "output_index": 2, "item": item},
        {"type": "response.output_item.done", "output_index": 2, "item": item},
    ):
        reply.add(chunk)
    assert reply.message.tool_calls == (ToolCall("c", "vote", '{"agent_id": "a"}'),)


def test_thoughts_are_paragraphs() -> None:
    added = {"type": "response.reasoning_summary_part.added"}
    delta = {"type": "response.reasoning_summary_text.delta", "delta": "Hm."}
    got = chunks({**added, "summary_index": 0}, delta, {**added, "summary_index": 1}, delta)
    assert got == [ReasoningDelta("Hm."), ReasoningDelta("\n\n"), ReasoningDelta("Hm.")]


def test_what_is_not_known_is_passed_over() -> None:
    assert (
        chunks({}, {"type": "response.new"}, {"type": "response.function_call_arguments.delta", "output_index": 4})
        == []
    )
    lost = {"type": "response.function_call_arguments.delta", "output_index": 4, "delta": "{"}
    assert chunks(lost, {"type": "response.completed", "response": {"usage": None}}) == []
