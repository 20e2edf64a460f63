"""What goes wrong at a provider is the SDK's own error: on every wire, in each provider's form."""

import asyncio
from typing import Any

import aiohttp
import anthropic
import httpx
import httpx2
import openai
import pytest
from google.genai import errors

from tests import providers
from tests.providers import Limits, Script, Simulator, fault, say
from tests.providers.clients import CLIENTS, talking

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")  # by google-genai

each_wire = pytest.mark.parametrize("wire", CLIENTS)
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@each_wire
async def test_a_wrong_key_is_refused_and_the_right_one_accepted(wire: str) -> None:
    async with Simulator(lambda _: say("x"), keys={"right"}) as simulator:
        right, wrong = (CLIENTS[wire](simulator.url, key=key) for key in ("right", "wrong"))
        assert (await right.ask()).text == "x"
        refused = 400 if wire == "gemini" else 401  # Google's word for it is INVALID_ARGUMENT
        with pytest.raises(expected(wire, refused)):
            await wrong.ask()
        assert [record.status for record in simulator.calls] == [200, refused]
        await right.aclose()
        await wrong.aclose()


def expected(wire: str, status: int) -> type[Exception]:
    """The SDK's class of an error status."""
    if wire == "gemini":
        return errors.ServerError if status >= 500 else errors.ClientError
    sdk = anthropic if wire == "messages" else openai
    names = {
        400: "BadRequestError",
        401: "AuthenticationError",
        403: "PermissionDeniedError",
        404: "NotFoundError",
        409: "ConflictError",
        422: "UnprocessableEntityError",
        429: "RateLimitError",
    }
    return getattr(sdk, names.get(status, "InternalServerError" if status >= 500 else "APIStatusError"))


STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)


@each_wire
@streamed_or_not
async def test_every_error_status_is_the_sdks_error(wire: str, stream: bool) -> None:
    script = Script({"*": [fault(status=status, message="no luck") for status in STATUSES]})
    async with talking(wire, script, stream=stream) as (client, simulator):
        for status in STATUSES:
            with pytest.raises(expected(wire, status), match="no luck"):
                await client.ask()
            client.history.clear()
        assert tuple(record.status for record in simulator.calls) == STATUSES


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (413, "request_too_large"), (429, "rate_limit_error"), (529, "overloaded_error")],
)
async def test_anthropic_names_the_kind_of_an_error(status: int, kind: str) -> None:
    async with talking("messages", lambda _: fault(status=status)) as (client, _):
        with pytest.raises(anthropic.APIStatusError) as raised:
            await client.ask()
    assert raised.value.body == {
        "type": "error",
        "error": {"type": kind, "message": "simulated"},
        "request_id": "req_1",
    }
    assert (raised.value.type, raised.value.request_id) == (kind, "req_1")


@pytest.mark.parametrize(
    ("status", "word"), [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE"), (529, "UNKNOWN")]
)
async def test_google_names_the_status_of_an_error(status: int, word: str) -> None:
    async with talking("gemini", lambda _: fault(status=status)) as (client, _):
        with pytest.raises(errors.APIError) as raised:
            await client.ask()
    assert (raised.value.code, raised.value.status, raised.value.message) == (status, word, "simulated")


async def test_openai_names_the_code_of_an_error() -> None:
    for wire in ("chat", "responses"):
        async with talking(wire, lambda _: fault(status=400, code="context_length_exceeded")) as (client, _):
            with pytest.raises(openai.BadRequestError) as raised:
                await client.ask()
        assert (raised.value.code, raised.value.type) == ("context_length_exceeded", "invalid_request_error")
        assert raised.value.request_id == "req_1"


@pytest.mark.parametrize(
    ("wire", "headers"),
    [
        (
            "chat",
            {"x-ratelimit-remaining-requests": "49", "x-ratelimit-reset-tokens": "1.5s", "retry-after-ms": "7000"},
        ),
        ("azure", {"x-ratelimit-remaining-tokens": "39900", "x-ratelimit-limit-tokens": "40000"}),
        ("responses", {"x-ratelimit-limit-requests": "50"}),
        (
            "messages",
            {"anthropic-ratelimit-requests-remaining": "49", "anthropic-ratelimit-input-tokens-limit": "40000"},
        ),
    ],
)
async def test_a_refusal_says_what_is_left_of_the_limits_and_when_to_try_again(wire: str, headers: Any) -> None:
    reply = fault(status=429, retry_after=7, limits=Limits())
    async with talking(wire, lambda _: reply) as (client, _):
        with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)) as raised:
            await client.ask()
    sent = raised.value.response.headers
    assert headers.items() <= dict(sent).items()
    assert sent["retry-after"] == "7"


async def test_google_says_when_to_try_again_in_the_body() -> None:
    async with talking("gemini", lambda _: fault(status=429, retry_after=7, limits=Limits())) as (client, _):
        with pytest.raises(errors.ClientError) as raised:
            await client.ask()
    (info,) = raised.value.details["error"]["details"]
    assert info == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
    assert "retry-after" not in raised.value.response.headers


async def test_limits_are_told_with_every_reply() -> None:
    reply = say("x", limits=Limits())
    async with talking("chat", lambda _: reply) as (client, _):
        raw = client.sdk.chat.completions.with_raw_response
        for stream in (False, True):
            told = await raw.create(model="m", messages=[{"role": "user", "content": "Why?"}], stream=stream)
            assert told.headers["x-ratelimit-remaining-requests"] == "49"
            await told.http_response.aclose()
    async with talking("messages", lambda _: reply) as (client, _):
        raw = client.sdk.messages.with_raw_response
        told = await raw.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "Why?"}])
        assert told.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")


BROKEN = (
    openai.APIError,
    anthropic.APIError,
    errors.APIError,
    httpx.RemoteProtocolError,
    httpx2.RemoteProtocolError,
    aiohttp.ClientError,
)
"""What the SDKs raise when a connection or a stream breaks: not all translate it."""


@each_wire
@pytest.mark.parametrize("after", [0, 3])
async def test_a_cut_stream_is_an_error(wire: str, after: int) -> None:
    async with talking(wire, lambda _: providers.cut(after), stream=True) as (client, simulator):
        with pytest.raises(BROKEN):
            await client.ask()
        await simulator.until(lambda: simulator.calls[0].ended is not None)
        assert not simulator.calls[0].disconnected


@each_wire
@pytest.mark.parametrize("after", [0, 3])
async def test_a_silent_stream_runs_into_the_clients_timeout_and_the_server_sees_it_go(wire: str, after: int) -> None:
    async with talking(wire, lambda _: providers.hang(after), stream=True, timeout=0.3) as (client, simulator):
        with pytest.raises(
            (openai.APITimeoutError, anthropic.APITimeoutError, httpx.ReadTimeout, httpx2.ReadTimeout, TimeoutError)
        ):
            await client.ask()
        await simulator.until(lambda: simulator.calls[0].disconnected)


@each_wire
async def test_a_stream_may_say_that_it_failed(wire: str) -> None:
    async with talking(wire, lambda _: providers.broken(3, status=529, message="no luck"), stream=True) as (client, _):
        with pytest.raises(BROKEN, match="no luck"):
            await client.ask()


@each_wire
async def test_a_slow_stream_arrives_piece_by_piece(wire: str) -> None:
    slow = say("one two", chunks=2, chunk_delay=0.01, delay=0.01)
    async with talking(wire, lambda _: slow, stream=True) as (client, _):
        got = await client.ask()
    assert got.pieces == ["one", " two"]


@each_wire
async def test_a_closed_gate_holds_the_reply(wire: str) -> None:
    gate = asyncio.Event()
    async with talking(wire, lambda _: say("x", gate=gate)) as (client, simulator):
        asking = asyncio.ensure_future(client.ask())
        await simulator.until(lambda: any(record.call for record in simulator.calls))
        assert not asking.done()
        gate.set()
        assert (await asking).text == "x"
