"""Chat completions over real sockets, against the simulator."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from yarl import URL

from massgen.backends import Request, Tool
from massgen.backends.chat_completions import ChatCompletions, HttpPool
from massgen.backends.failures import Caller, retry_after
from massgen.backends.transport import proxy_for
from massgen.errors import BackendError, UsageError
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
    ToolResult,
    Usage,
    system,
    user,
)
from massgen.testing import check_backend
from tests import providers
from tests.providers import Act, Policy, Simulator, Team, paced, prose, raw, say

ASK = Request([user("Why is the sky blue?")])
NEW_ANSWER = Tool("new_answer", "", {"type": "object", "properties": {"content": {"type": "string"}}})
VOTE = Tool("vote", "", {"type": "object", "properties": {"agent_id": {"enum": ["agent1", "agent2"]}}})
NOWHERE = aiohttp.client_reqrep.ConnectionKey("models.example", 443, True, True, None, None, None)
KEY = "sk-very-secret-0123"


@asynccontextmanager
async def model_of(policy: Policy | providers.Reply, **how: Any) -> AsyncIterator[tuple[ChatCompletions, Simulator]]:
    answer = (lambda _: policy) if isinstance(policy, providers.Reply) else policy
    async with Simulator(answer) as simulator, HttpPool() as pool:
        yield ChatCompletions(pool, base_url=simulator.base_url, **{"model": "m", **how}), simulator


async def chunks_of(backend: ChatCompletions, request: Request = ASK) -> list[Chunk]:
    async with aclosing(backend.stream(request)) as stream:
        return [chunk async for chunk in stream]


async def reply_of(backend: ChatCompletions, request: Request = ASK) -> Reply:
    reply = Reply()
    for chunk in await chunks_of(backend, request):
        reply.add(chunk)
    return reply


async def failure_of(reply: providers.Reply, **how: Any) -> BackendError:
    async with model_of(reply, **how) as (backend, _):
        with pytest.raises(BackendError) as raised:
            await chunks_of(backend)
    assert KEY not in str(raised.value)
    return raised.value


def event(**body: Any) -> str:
    return f"data: {json.dumps(body)}\n\n"


def delta(finish: str | None = None, **fields: Any) -> str:
    return event(choices=[{"index": 0, "delta": fields, "finish_reason": finish}])


async def chunks_from(stream: str | bytes) -> list[Chunk]:
    async with model_of(raw(stream)) as (backend, _):
        return await chunks_of(backend)


# The reply


async def test_it_is_a_backend() -> None:
    async with model_of(say("Hello.")) as (backend, _):
        await check_backend(backend)


async def test_text_reasoning_usage_and_finish_arrive_in_this_order() -> None:
    async with model_of(say("Because.", reasoning="Hm.", cost=0.25, chunks=2)) as (backend, _):
        chunks = await chunks_of(backend)
    assert chunks == [
        ReasoningDelta("Hm."), TextDelta("Beca"), TextDelta("use."), Usage(7, 5, 0.25), Finish("stop"),
    ]  # fmt: skip


async def test_tool_calls_in_pieces_become_whole_again() -> None:
    acts = (Act("new_answer", '{"content": "Rayleigh"}', "a"), Act("vote", '{"agent_id": "agent1"}', "b"))
    async with model_of(providers.Reply(text="So:", acts=acts, chunks=6)) as (backend, _):
        reply = await reply_of(backend)
    assert reply.message.text == "So:"
    assert reply.message.tool_calls == tuple(ToolCall(act.id, act.name, act.arguments) for act in acts)
    assert reply.finish == "tool_calls"


async def test_a_server_that_does_not_stream_is_understood() -> None:
    plain = say("Because.", reasoning="Hm.", streamed=False)
    async with model_of(plain) as (backend, _):
        assert await chunks_of(backend) == [TextDelta("Because."), ReasoningDelta("Hm."), Usage(7, 5), Finish("stop")]
    acting = providers.Reply(acts=(Act("vote", "{}", "a"), Act("vote", "{}", "b")), streamed=False)
    async with model_of(acting) as (backend, _):
        assert [call.id for call in (await reply_of(backend)).message.tool_calls] == ["a", "b"]


async def test_comments_crlf_other_fields_and_a_missing_last_newline_are_tolerated() -> None:
    stream = (
        ": ping\r\nevent: x\r\n"
        + delta(content="a").replace("\n", "\r\n")
        + "data:\n\n"
        + delta("stop", content="é").rstrip()
    )
    assert await chunks_from(stream) == [TextDelta("a"), TextDelta("é"), Finish("stop")]


async def test_a_reply_without_done_usage_or_finish_reason_is_accepted_if_it_has_one_end() -> None:
    assert await chunks_from(delta("length", content="a")) == [TextDelta("a"), Finish("length")]
    assert await chunks_from(delta(content="a") + "data: [DONE]\n\n") == [TextDelta("a"), Finish("stop")]


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}, {"function": {"arguments": "}"}}], ["f{}"]),
        ([{"id": "a", "function": {"name": "f"}}, {"id": "b", "function": {"name": "g"}}], ["f", "g"]),
        ([{"id": "a", "function": {"name": "f"}}, {"id": "b", "function": {"name": "g"}}, {"id": "a", "function": {"arguments": "{}"}}], ["f{}", "g"]),
        ([{"index": 0, "id": "a", "function": {"name": "f"}}, {"index": 0, "id": "b", "function": {"name": "g"}}], ["f", "g"]),
        ([{"index": 1, "function": {"name": "f"}}, {"index": 1, "function": {"name": "f", "arguments": "{}"}}], ["f{}"]),
        ([{"index": 0, "function": {"name": "f", "arguments": {"n": 1}}}], ['f{"n": 1}']),
        ([{"index": 0}, {"index": 0, "id": "a", "function": {"name": "f"}}], ["f"]),
    ],
    ids=["no index later", "no index", "told apart by id", "all index 0", "repeated name", "object", "empty first piece"],
)  # fmt: skip
async def test_tool_calls_survive_what_servers_leave_out(pieces: list[Any], calls: list[str]) -> None:
    stream = "".join(delta(tool_calls=[piece]) for piece in pieces) + delta("tool_calls")
    async with model_of(raw(stream)) as (backend, _):
        message = (await reply_of(backend)).message
    assert [call.name + call.arguments for call in message.tool_calls] == calls
    assert len({call.id for call in message.tool_calls}) == len(calls)


async def test_odd_but_harmless_events_are_passed_over() -> None:
    stream = "".join(
        [
            event(choices=None, usage={"prompt_tokens": "x", "completion_tokens": -1, "cost": "free"}),
            event(choices=[{"delta": None}]),
            event(choices=["?"], error=None, usage=3),
            delta(content=[{"type": "text", "text": "a"}, {"type": "thinking"}]),
            delta(reasoning="b", tool_calls="?"),
            delta("stop"),
        ]
    )
    assert await chunks_from(stream) == [TextDelta("a"), ReasoningDelta("b"), Finish("stop")]


async def test_a_long_stream_costs_little_per_chunk() -> None:
    async with model_of(say(prose(10_000), chunks=10_000)) as (backend, _):
        await chunks_of(backend)  # the simulator's encoding, done once
        began = time.process_time()
        chunks = await chunks_of(backend)
        spent = time.process_time() - began
    assert len(chunks) == 10_000 + 2
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta)) == prose(10_000)
    assert spent / 10_000 < 100e-6, "20 µs is the budget; five times that is not noise"


# The request


async def test_the_request_carries_messages_tools_schema_and_options() -> None:
    options = {"temperature": 0.5, "seed": None, "extra_body": {"top_k": 4, "stream_options": None}}
    request = Request([system("Be brief."), user("Why?")], [VOTE], schema={"type": "object"})
    async with model_of(say("x"), options=options, api_key=KEY) as (backend, simulator):
        await chunks_of(backend, request)
    sent = simulator.calls[0]
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    assert sent.headers["User-Agent"].startswith("massgen/")
    assert sent.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
        "stream": True,
        "stream_options": None,
        "tools": [{"type": "function", "function": {"name": "vote", "description": "", "parameters": VOTE.parameters}}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": {"type": "object"}, "strict": True},
        },
        "temperature": 0.5,
        "top_k": 4,
    }


async def test_without_key_tools_or_schema_nothing_is_said_of_them() -> None:
    async with model_of(say("x")) as (backend, simulator):
        await chunks_of(backend)
    assert "Authorization" not in simulator.calls[0].headers
    assert set(simulator.calls[0].body) == {"model", "messages", "stream", "stream_options"}


async def test_calls_and_their_results_go_back_in_the_form_servers_know() -> None:
    calls = (ToolCall("1", "f", '{"a": 1}'), ToolCall("2", "g", ""), ToolCall("3", "h", "{oops"))
    results = Message("tool", (ToolResult("1", "one"), ToolResult("2", "two"), ToolResult("3", "three")))
    again = [Message("assistant", (Text("So."), calls[0])), Message("tool", (ToolResult("1", "one"),))]
    history = [user("Why?"), Message("assistant", calls), results, *again]
    async with model_of(say("x")) as (backend, simulator):
        await chunks_of(backend, Request(history))
    _, first, one, two, _, second, _ = simulator.calls[0].body["messages"]
    assert first["content"] is None
    assert [call["function"]["arguments"] for call in first["tool_calls"]] == [
        '{"a": 1}',
        "{}",
        '{"malformed": "{oops"}',
    ]
    assert one == {"role": "tool", "tool_call_id": "1", "content": "one"}
    assert two["tool_call_id"] == "2"
    assert (second["content"], second["tool_calls"][0]["id"]) == ("So.", "1")


@pytest.mark.parametrize(
    ("media", "part"),
    [
        (Media("image", "image/png", data="QQ=="), {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}),
        (Media("image", "image/png", url="https://x/y.png"), {"type": "image_url", "image_url": {"url": "https://x/y.png"}}),
        (Media("video", "video/mp4", data="QQ=="), {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,QQ=="}}),
        (Media("audio", "audio/x-wav", data="QQ=="), {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}),
        (Media("audio", "audio/mpeg", data="QQ=="), {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}}),
        (Media("audio", "audio/mpeg", url="https://x/y"), {"type": "audio_url", "audio_url": {"url": "https://x/y"}}),
        (Media("file", "application/pdf", data="QQ==", name="a.pdf"), {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="}}),
    ],
)  # fmt: skip
async def test_media_become_content_parts(media: Media, part: dict[str, Any]) -> None:
    async with model_of(say("x")) as (backend, simulator):
        await chunks_of(backend, Request([user("Look.", (media,))]))
    assert simulator.calls[0].body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Look."}, part]}
    ]


async def test_half_a_surrogate_pair_does_not_stop_the_call() -> None:
    async with model_of(say("x")) as (backend, simulator):
        await chunks_of(backend, Request([user("a\ud83db")]))
    assert simulator.calls[0].body["messages"][0]["content"] == "a?b"


async def test_without_a_name_the_first_model_that_the_server_lists_is_asked_for_once() -> None:
    async with Simulator(Team(), models=("first", "second")) as simulator, HttpPool() as pool:
        backend = ChatCompletions(pool, base_url=simulator.base_url + "/")
        assert backend.model == ""
        await asyncio.gather(chunks_of(backend), chunks_of(backend))
        assert backend.model == "first"
        assert [record.method for record in simulator.requests].count("GET") == 1
        assert all(record.body["model"] == "first" for record in simulator.calls)


async def test_a_server_without_models_is_named() -> None:
    async with Simulator(Team(), models=()) as simulator, HttpPool() as pool:
        with pytest.raises(BackendError, match="lists no models") as raised:
            await chunks_of(ChatCompletions(pool, base_url=simulator.base_url))
    assert raised.value.where == simulator.base_url


# Errors


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
async def test_statuses_that_pass_are_transient(status: int) -> None:
    error = await failure_of(providers.fault(status=status, message="busy", headers={"retry-after": "1.5"}))
    assert (error.what, error.transient, error.retry_after) == (f"busy (status {status})", True, 1.5)
    assert error.where.startswith("m at http://127.0.0.1:")


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (400, "settings"),
        (401, "MY_KEY"),
        (402, "credit"),
        (403, "access"),
        (404, "`model`"),
        (422, "settings"),
        (418, ""),
    ],
)
async def test_statuses_that_stay_are_permanent_and_say_what_to_do(status: int, fix: str) -> None:
    error = await failure_of(providers.fault(status=status), key_name="MY_KEY", api_key=KEY)
    assert not error.transient
    assert fix in error.fix


async def test_a_refused_key_is_never_shown_and_without_a_variable_the_configuration_is_named() -> None:
    error = await failure_of(providers.fault(status=401, message=f"Incorrect key {KEY}\n given"), api_key=KEY)
    assert error.what == "Incorrect key *** given (status 401)"
    assert "api_key" in error.fix
    async with HttpPool() as pool:
        backend = ChatCompletions(pool, base_url="http://user:pass@127.0.0.1:1/v1", model="m", api_key=KEY)
        assert repr(backend) == "ChatCompletions('m', 'http://127.0.0.1:1/v1')"
        assert KEY not in repr(backend._caller)


@pytest.mark.parametrize(
    "reply",
    [
        providers.fault(status=500, message="the request exceeds the available context size"),
        providers.fault(status=429, message="You exceeded your current quota, check your plan and billing details."),
        providers.fault(status=501),
        raw(event(error={"code": 500, "message": "maximum context length is 8192 tokens"})),
    ],
)
async def test_what_waiting_does_not_cure_is_permanent_whatever_its_status(reply: providers.Reply) -> None:
    error = await failure_of(reply)
    assert not error.transient
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "m", "code": "c"}}', "m (c) "),
        (b'{"error": "plain"}', "plain "),
        (b'{"detail": "fastapi"}', "fastapi "),
        (b'[{"error": {"message": "a list"}}]', "a list "),
        (b'{"other": 1}', '{"other": 1} '),
        (b"just text", "just text "),
        (b"<html><title>502 Bad\nGateway</title>long</html>", "502 Bad Gateway "),
        (b"<html></html>", "Bad Gateway "),
        (b"", "Bad Gateway "),
        (b"\xff", "\N{REPLACEMENT CHARACTER} "),
        (b"x" * 100_000, "x" * 300 + "... "),
    ],
)
async def test_the_servers_words_are_found_in_every_shape_and_bounded(body: bytes, said: str) -> None:
    error = await failure_of(providers.fault(status=502, body=body))
    assert error.what == f"{said}(status 502)"


async def test_an_unknown_status_has_words_too() -> None:
    assert (await failure_of(providers.fault(status=499, body=b""))).what == "refused (status 499)"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "9"}, 9),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:10 GMT"}, 10),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=1795262400.0) == seconds


async def test_a_redirect_is_not_followed_but_named() -> None:
    async with Simulator(Team()) as other:
        error = await failure_of(providers.redirect(f"{other.base_url}/chat/completions?token=hidden"), api_key=KEY)
        assert other.requests == []
    assert error.what == f"redirected to {other.base_url}/chat/completions (status 307)"
    assert not error.transient


@pytest.mark.parametrize("after", [0, 1, 4])
async def test_a_cut_reply_is_transient(after: int) -> None:
    error = await failure_of(providers.cut(after=after))
    assert error.transient
    assert "cut off" in error.what or "closed" in error.what


async def test_a_stream_that_just_ends_was_cut_off() -> None:
    error = await failure_of(raw(delta(content="Beca")))
    assert (error.what, error.transient) == ("the reply was cut off", True)


@pytest.mark.parametrize("breaks", [providers.cut, providers.hang])
async def test_what_breaks_after_a_complete_reply_does_not_matter(breaks: Any) -> None:
    async with model_of(breaks(after=9), stall_timeout=0.1) as (backend, _):
        assert (await chunks_of(backend))[-1] == Finish("stop")


@pytest.mark.parametrize("after", [0, 2])
async def test_a_silent_server_is_left_after_the_stall_timeout(after: int) -> None:
    error = await failure_of(providers.hang(after=after), stall_timeout=0.1)
    assert (error.what, error.transient) == ("the server was silent for 0.1 s", True)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("data: {junk\n\n", "'{junk', which is not JSON"),
        ("data: [1]\n\n", "'[1]', which is not a JSON object"),
        ("data: " + "[" * 100_000 + "\n\n", "[...', which is not JSON"),
        ("hello", "no events; it begins 'hello'"),
        ("", "no events; it begins ''"),
        ("data: " + "x" * (5 * 2**20), "longer than"),
    ],
)
async def test_a_reply_that_is_not_understood_is_named_briefly_and_transient(body: str, what: str) -> None:
    error = await failure_of(raw(body))
    assert what in error.what
    assert len(error.what) < 400
    assert error.transient


async def test_a_document_that_is_no_reply_is_named() -> None:
    error = await failure_of(raw('{"status": "ok"}', "application/json"))
    assert error.what == "the reply has no `choices`, only status"
    assert (await failure_of(raw('{"error": "no"}', "application/json"))).what == "no (status 500)"


async def test_a_web_page_means_a_wrong_address() -> None:
    error = await failure_of(raw("<html>", "text/html; charset=utf-8"))
    assert (error.transient, error.fix) == (False, "Check `base_url`.")


@pytest.mark.parametrize(("code", "transient"), [(429, True), (403, False), ("server_error", True), (None, True)])
async def test_an_error_inside_a_stream_ends_it(code: Any, transient: bool) -> None:
    error = await failure_of(raw(delta(content="a") + event(error={"message": "no more", "code": code})))
    assert "no more" in error.what
    assert error.transient is transient


async def test_a_server_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    for host in ("127.0.0.1", "localhost"):
        async with HttpPool() as pool:
            backend = ChatCompletions(pool, base_url=f"http://{host}:{unused_tcp_port}/v1", model="m")
            with pytest.raises(BackendError, match=f"{host}:{unused_tcp_port} refused") as raised:
                await chunks_of(backend)
        assert raised.value.transient
        assert "running?" in raised.value.fix


async def test_a_server_without_tls_is_permanent_over_https() -> None:
    async with Simulator(Team()) as simulator, HttpPool() as pool:
        backend = ChatCompletions(pool, base_url=simulator.base_url.replace("http:", "https:"), model="m")
        with pytest.raises(BackendError, match="secure connection") as raised:
            await chunks_of(backend)
    assert not raised.value.transient


async def test_what_does_not_speak_http_is_transient() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, HttpPool() as pool:
        with pytest.raises(BackendError, match="the exchange failed") as raised:
            await chunks_of(ChatCompletions(pool, base_url=f"http://127.0.0.1:{port}", model="m"))
    assert raised.value.transient


@pytest.mark.parametrize("base_url", ["", "localhost:8000", "ftp://x/v1", "http://", "http://[", "user:pass@x"])
async def test_what_is_no_address_is_refused_at_once(base_url: str) -> None:
    async with HttpPool() as pool:
        with pytest.raises(UsageError, match="http") as raised:
            ChatCompletions(pool, base_url=base_url)
    assert "pass" not in str(raised.value)


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-é", "sk-a\0"])
async def test_a_key_that_cannot_be_one_is_refused_without_being_shown(key: str) -> None:
    async with HttpPool() as pool:
        with pytest.raises(UsageError, match="MY_KEY") as raised:
            ChatCompletions(pool, base_url="http://127.0.0.1", api_key=key, key_name="MY_KEY")
    assert "sk-" not in str(raised.value)


# Connections


async def test_a_team_of_three_makes_seven_calls_over_at_most_three_connections() -> None:
    team = paced(Team(), chunks=4)
    async with Simulator(team) as simulator, HttpPool() as pool:
        agents = [ChatCompletions(pool, base_url=simulator.base_url, model=name) for name in "abc"]
        for tool in (NEW_ANSWER, VOTE):
            await asyncio.gather(*(chunks_of(agent, Request(ASK.messages, [tool])) for agent in agents))
        await chunks_of(agents[0])
        assert simulator.summary()["calls"] == 7
        assert len(simulator.connections) <= 3


async def test_an_error_leaves_its_connection_usable() -> None:
    script = providers.Script({"m": [providers.fault(status=503), say("x")]})
    async with model_of(script) as (backend, simulator):
        with pytest.raises(BackendError):
            await chunks_of(backend)
        await chunks_of(backend)
        assert len(simulator.connections) == 1


async def test_a_server_that_does_not_end_its_response_after_done_delays_nobody_for_long() -> None:
    script = providers.Script({"m": [providers.hang(after=11), say("x")]})
    async with model_of(script) as (backend, simulator):
        assert (await chunks_of(backend))[-1] == Finish("stop")
        await simulator.until(lambda: simulator.calls[0].disconnected)
        await chunks_of(backend)
        assert len(simulator.connections) == 2


async def test_cancelling_a_call_in_mid_stream_is_seen_by_the_server() -> None:
    started = asyncio.Event()

    async def listen(backend: ChatCompletions) -> None:
        async with aclosing(backend.stream(ASK)) as stream:
            async for _ in stream:
                started.set()

    async with model_of(providers.hang(after=2)) as (backend, simulator):
        listening = asyncio.create_task(listen(backend))
        await started.wait()
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        await simulator.until(lambda: simulator.calls[0].disconnected)


async def test_leaving_a_reply_early_ends_the_call() -> None:
    async with model_of(providers.hang(after=2)) as (backend, simulator):
        async with aclosing(backend.stream(ASK)) as stream:
            assert await anext(stream) == TextDelta("a")
        await simulator.until(lambda: simulator.calls[0].disconnected)


async def test_a_pool_can_be_closed_twice_and_used_again() -> None:
    async with Simulator(say_x) as simulator:
        pool = HttpPool()
        for _ in range(2):
            await chunks_of(ChatCompletions(pool, base_url=simulator.base_url, model="m"))
            await pool.aclose()
            await pool.aclose()


def say_x(_: providers.Call) -> providers.Reply:
    return say("x")


async def test_proxies_are_used_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Simulator(say_x) as proxy, Simulator(say_x) as simulator, HttpPool() as pool:
        monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        await chunks_of(ChatCompletions(pool, base_url=simulator.base_url, model="m"))
        assert proxy.requests == []
        await chunks_of(ChatCompletions(pool, base_url="http://models.example/v1", model="far"))
        assert [record.body["model"] for record in proxy.calls] == ["far"]
        assert [record.body["model"] for record in simulator.calls] == ["m"]


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://127.0.0.9:1", None),
        ("http://[::1]:1", None),
        ("http://x.localhost", None),
        ("http://near.example", None),
        ("https://far.example", "http://p:1"),
        ("http://10.0.0.1", "http://q:1"),
    ],
)
def test_each_host_has_its_proxy(url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"https_proxy": "http://p:1", "all_proxy": "http://q:1", "no_proxy": "near.example"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("http_proxy", raising=False)
    assert proxy_for(URL(url)) == proxy


async def test_a_wrong_key_at_a_proxy_is_a_permanent_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Simulator(lambda _: say("x")) as proxy, HttpPool() as pool:
        monkeypatch.setenv("https_proxy", proxy.base_url.removesuffix("/v1").replace("http://", "http://me:hidden@"))
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(BackendError, match="the proxy answered with status 404") as raised:
            await chunks_of(ChatCompletions(pool, base_url="https://models.example/v1", model="m"))
    assert not raised.value.transient
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (aiohttp.ClientConnectorDNSError(NOWHERE, OSError("?")), "the name models.example cannot be resolved"),
        (aiohttp.ClientConnectorError(NOWHERE, OSError(113, "No route")), "cannot connect: "),
        (aiohttp.ConnectionTimeoutError(), "the server did not accept the connection in time"),
        (ConnectionResetError("reset"), "the connection broke: reset"),
    ],
)
def test_failures_of_the_network_are_transient_and_named(error: Exception, what: str) -> None:
    failure = Caller("m", "http://models.example/v1").exception(error, 1.0)
    assert failure.what.startswith(what)
    assert failure.transient
