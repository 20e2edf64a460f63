"""The gateway, through the real litellm, against a loopback server."""

import asyncio
import json
import logging
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from massgen import builtins, messages
from massgen.agents.loop import LoopAgent
from massgen.backends import Request, Tool
from massgen.backends.chat_completions import HttpPool
from massgen.backends.gateway import Gateway, preload
from massgen.backends.providers import PROVIDERS
from massgen.config import BackendType, Config
from massgen.errors import BackendError
from massgen.limiter.feedback import learned
from massgen.messages import Chunk, Finish, Message, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta, Usage
from massgen.team import build
from tests.providers import Act, Hosted, Policy, Reply, Simulator, broken, call, cut, fault, hang, raw, say
from tests.providers.policy import Limits

pytestmark = [
    pytest.mark.timeout(60),  # importing litellm takes seconds
    # pydantic's words on litellm's models; they are filtered on import, and pytest undoes that.
    pytest.mark.filterwarnings("ignore:Accessing the '.*' attribute on the instance is deprecated"),
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]

KEY = "sk-secret-0123456789"
HELLO = Request([messages.user("Hello")])
VOTE = Tool("vote", "Votes.", {"type": "object", "properties": {"agent_id": {"type": "string"}}})


def gateway(sim: Simulator, model: str = "openai/some-model", **settings: Any) -> Gateway:
    return Gateway(model, api_key=KEY, base_url=sim.base_url, **settings)


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """litellm is imported and has made its first call, which imports more: a silence measured later is the server's."""
    preload().join()
    asyncio.run(reply(lambda _: say("Hi")))


async def chunks(backend: Gateway, request: Request = HELLO) -> list[Chunk]:
    return [chunk async for chunk in backend.stream(request)]


async def reply(policy: Policy, request: Request = HELLO, model: str = "openai/some-model") -> list[Chunk]:
    async with Simulator(policy) as sim:
        backend = gateway(sim, model)
        try:
            return await chunks(backend, request)
        finally:
            await backend.aclose()


async def failure(policy: Policy, **settings: Any) -> BackendError:
    async with Simulator(policy) as sim:
        backend = gateway(sim, **settings)
        with pytest.raises(BackendError) as caught:
            await chunks(backend)
        await backend.aclose()
        assert len(sim.calls) == 1, "a failed call is not repeated here"
        return caught.value


async def test_text_and_reasoning_arrive_in_pieces_and_the_reply_ends_with_usage_and_finish() -> None:
    got = await reply(lambda _: say("Good morning", reasoning="Hm.", chunks=2))
    assert got == [
        ReasoningDelta("Hm."),
        TextDelta("Good m"),
        TextDelta("orning"),
        Usage(input_tokens=7, output_tokens=5),
        Finish("stop"),
    ]


async def test_tool_calls_arrive_in_pieces_with_id_and_name_once() -> None:
    got = await reply(lambda _: call("vote", agent_id="agent1"), Request([messages.user("Vote")], [VOTE]))
    assert [chunk for chunk in got if isinstance(chunk, ToolCallDelta)] == [
        ToolCallDelta(0, "call_0", "vote", ""),
        ToolCallDelta(0, "", "", '{"agent_id": "agent1"}'),
    ]
    assert got[-1] == Finish("tool_calls")


async def test_the_request_carries_the_conversation_the_tools_the_schema_and_the_options() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    image = messages.Media("image", "image/png", data="aGk=")
    request = Request([messages.system("Be brief."), messages.user("Look", (image,))], [VOTE], schema)
    options = {"temperature": 0.5, "seed": 7, "max_tokens": None, "extra_body": {"top_k": 3}}
    async with Simulator(lambda _: say("{}")) as sim:
        backend = gateway(sim, options=options)
        await chunks(backend, request)
        await backend.aclose()
        (sent,) = sim.calls
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    body = sent.body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert "data:image/png;base64,aGk=" in str(body["messages"][1])
    assert [tool["function"]["name"] for tool in body["tools"]] == ["vote"]
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert (body["temperature"], body["seed"], body["top_k"]) == (0.5, 7, 3)
    assert "max_tokens" not in body
    assert body["stream_options"] == {"include_usage": True}


async def test_a_listed_model_has_a_price_and_any_other_has_none() -> None:
    priced, unlisted = await reply(lambda _: say("Hi"), model="openai/gpt-4o-mini"), await reply(lambda _: say("Hi"))
    assert next(chunk.cost for chunk in priced if isinstance(chunk, Usage)) == pytest.approx(7 * 0.15e-6 + 5 * 0.6e-6)
    assert Usage(7, 5, None) in unlisted


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
async def test_a_passing_failure_is_transient_and_says_when_to_try_again(status: int) -> None:
    error = await failure(lambda _: fault(status=status, message="Busy.", headers={"retry-after": "7"}))
    assert (error.transient, error.retry_after) == (True, 7.0)
    assert error.what == f"Busy. (status {status})"
    assert error.where.startswith("openai/some-model at http://127.0.0.1:")


async def test_a_date_in_retry_after_becomes_seconds_from_now() -> None:
    later = formatdate(time.time() + 30, usegmt=True)
    error = await failure(lambda _: fault(status=429, headers={"retry-after": later}))
    assert error.retry_after == pytest.approx(30, abs=5)


@pytest.mark.parametrize(
    ("status", "remedy"), [(400, "settings"), (401, "SOME_KEY"), (403, "access"), (404, "base_url"), (422, "settings")]
)
async def test_a_lasting_failure_is_permanent_and_says_what_to_do(status: int, remedy: str) -> None:
    error = await failure(lambda _: fault(status=status, message=f"No.\n You sent {KEY}."), key_name="SOME_KEY")
    assert (error.transient, error.retry_after) == (False, None)
    assert error.what == f"No. You sent ***. (status {status})"
    assert remedy in error.fix


async def test_a_429_for_want_of_credit_is_permanent() -> None:
    error = await failure(lambda _: fault(status=429, message="You exceeded your quota, check your billing."))
    assert not error.transient
    assert "credit" in error.fix


@pytest.mark.parametrize(
    "said",
    ["This model's maximum context length is 8192 tokens.", "string too long. Expected a string with maximum length 9"],
)
async def test_a_prompt_longer_than_the_context_window_is_to_be_shortened(said: str) -> None:
    error = await failure(lambda _: fault(status=400, message=said))
    assert not error.transient
    assert "context window exceeded" in error.what
    assert "Shorten" in error.fix


async def test_a_long_error_is_cut() -> None:
    error = await failure(lambda _: fault(status=500, message="x" * 9_000))
    assert len(error.what) < 330


async def test_a_setting_the_model_does_not_have_is_named_without_litellms_own_advice() -> None:
    backend = Gateway("anthropic/claude-sonnet-4-5", api_key=KEY, options={"seed": 1})
    with pytest.raises(BackendError, match="at its provider: anthropic does not support parameters") as caught:
        await chunks(backend)
    assert not caught.value.transient
    assert caught.value.what.endswith("['seed'], for model=claude-sonnet-4-5. (status 400)")
    await backend.aclose()


async def test_an_unknown_provider_is_a_permanent_failure() -> None:
    backend = Gateway("nowhere/at-all")
    with pytest.raises(BackendError, match="nowhere/at-all") as caught:
        await chunks(backend)
    assert not caught.value.transient
    await backend.aclose()


async def test_an_unreachable_server_is_a_transient_failure() -> None:
    async with Simulator(lambda _: say("Hi")) as sim:
        backend = gateway(sim)
    with pytest.raises(BackendError, match="refused the connection") as caught:
        await chunks(backend)
    assert caught.value.transient
    await backend.aclose()


def of_kind(sim: Simulator, kind: BackendType, model: str, **settings: Any) -> Gateway:
    """A gateway to a provider as a configuration of `type: kind` makes it."""
    provider = PROVIDERS[kind]
    return Gateway(
        f"{provider.litellm_prefix}{model}",
        api_key=KEY,
        base_url=sim.address(kind),
        options=builtins.plan(kind, {"model": model, **settings}).options,
        key_name=provider.key_variables[0],
        key_page=provider.key_page,
    )


REASONING = {"reasoning": {"effort": "low"}}
"""With tools, it takes Azure's models to the Responses API, which litellm reaches by a bridge of its own."""
WIRES: dict[str, tuple[BackendType, str, dict[str, Any]]] = {
    "claude": ("claude", "claude-sonnet-4-5", {}),
    "gemini": ("gemini", "gemini-3-flash-preview", {}),
    "azure": ("azure_openai", "gpt-5-mini", {}),
    "bridge": ("azure_openai", "gpt-5.4", REASONING),
    "openai": ("openai", "some-model", {}),
}
each_wire = pytest.mark.parametrize("wire", WIRES)


async def failure_on(wire: str, policy: Policy) -> BackendError:
    kind, model, settings = WIRES[wire]
    async with Simulator(policy) as sim:
        backend = of_kind(sim, kind, model, **settings)
        with pytest.raises(BackendError) as caught:
            await chunks(backend, Request([messages.user("Hello")], [VOTE]))
        await backend.aclose()
        assert len(sim.calls) == 1
        return caught.value


@each_wire
async def test_a_refusal_is_told_in_the_providers_words_alone(wire: str) -> None:
    words = "Bad 'value' isn't \"good\" é. Or is it?"
    error = await failure_on(wire, lambda _: fault(status=400, message=words))
    assert error.what == f"{words} (status 400)"


@each_wire
async def test_a_page_instead_of_an_error_says_its_title(wire: str) -> None:
    page = b"<html><head><title>Bad Gateway</title></head></html>"
    error = await failure_on(wire, lambda _: fault(status=502, body=page))
    assert (error.what, error.transient) == ("Bad Gateway (status 502)", True)


@each_wire
async def test_a_provider_says_when_to_try_again_in_its_own_way(wire: str) -> None:
    error = await failure_on(wire, lambda _: fault(status=429, message="Slow down.", retry_after=17.5))
    assert (error.what, error.transient, error.retry_after) == ("Slow down. (status 429)", True, 17.5)


async def test_a_quota_that_is_whole_again_soon_is_no_want_of_credit() -> None:
    said = "You exceeded your current quota, please check your plan and billing details."
    error = await failure_on("gemini", lambda _: fault(status=429, message=said, retry_after=34))
    assert (error.transient, error.retry_after) == (True, 34)
    assert not (await failure_on("gemini", lambda _: fault(status=429, message=said))).transient


@pytest.mark.parametrize("wire", ["claude", "gemini", "azure", "bridge"])
async def test_a_wrong_key_is_told_with_its_variable_and_the_place_where_keys_are_made(wire: str) -> None:
    kind, model, settings = WIRES[wire]
    async with Simulator(lambda _: say("Hi"), keys={"another"}) as sim:
        backend = of_kind(sim, kind, model, **settings)
        with pytest.raises(BackendError) as caught:
            await chunks(backend, Request([messages.user("Hello")], [VOTE]))
        await backend.aclose()
    provider = PROVIDERS[kind]
    assert caught.value.fix == f"Check {provider.key_variables[0]}. Keys are made at {provider.key_page}."
    assert not caught.value.transient


@each_wire
async def test_a_connection_that_is_closed_is_told_as_the_direct_client_tells_it(wire: str) -> None:
    for after, words in ((0, "the connection was closed without a reply"), (3, "the reply was cut off")):
        error = await failure_on(wire, lambda _, after=after: cut(after))
        assert (error.what, error.transient) == (words, True)


async def test_a_reply_that_stops_before_its_end_is_cut_off_though_the_connection_is_closed_well() -> None:
    begun = b'data: {"choices": [{"index": 0, "delta": {"content": "Half a"}}]}\n\n'
    error = await failure(lambda _: raw(begun))
    assert (error.what, error.transient) == ("the reply was cut off", True)


@each_wire
async def test_an_error_inside_a_stream_holds_no_traceback_no_path_and_no_advice(wire: str) -> None:
    error = await failure_on(wire, lambda _: broken(3, message="Broke in the middle."))
    assert (error.what, error.transient) == ("Broke in the middle. (status 500)", True)


@pytest.mark.parametrize("after", [0, 3])
async def test_silence_breaks_the_call_off_and_closes_its_connection(after: int) -> None:
    async with Simulator(lambda _: hang(after)) as sim:
        backend = gateway(sim, stall_timeout=0.3)
        with pytest.raises(BackendError, match=r"silent for 0\.3 s") as caught:
            await chunks(backend)
        assert caught.value.transient
        await sim.until(lambda: sim.calls[0].disconnected)
        await backend.aclose()


async def test_cancelling_closes_the_connection() -> None:
    begun = asyncio.Event()

    async def follow(backend: Gateway) -> None:
        async for _ in backend.stream(HELLO):
            begun.set()

    async with Simulator(lambda _: hang(after=3)) as sim:
        backend = gateway(sim)
        task = asyncio.create_task(follow(backend))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sim.until(lambda: sim.calls[0].disconnected)
        await backend.aclose()


async def test_closing_one_gateway_leaves_the_others_working_and_closing_all_leaves_no_task_behind() -> None:
    async with Simulator(lambda _: say("Hi")) as sim:
        one, other = gateway(sim), gateway(sim)
        await asyncio.gather(chunks(one), chunks(other))
        await one.aclose()
        await one.aclose()
        assert TextDelta("Hi") in await chunks(other)
        await other.aclose()
        assert not [task for task in asyncio.all_tasks() if "litellm" in repr(task.get_coro())]
        again = gateway(sim)
        assert TextDelta("Hi") in await chunks(again)
        await again.aclose()


async def test_calls_in_a_row_share_one_connection() -> None:
    async with Simulator(lambda _: say("Hi")) as sim:
        backend = gateway(sim)
        for _ in range(3):
            await chunks(backend)
        await backend.aclose()
        assert len(sim.connections) == 1


async def test_its_logger_stays_quiet(caplog: pytest.LogCaptureFixture) -> None:
    await failure(lambda _: fault(status=500))
    assert logging.getLogger("LiteLLM").getEffectiveLevel() >= logging.CRITICAL
    assert not [record for record in caplog.records if "litellm" in record.name.lower()]


# --- providers' own tools ------------------------------------------------------------------------------------------

BUILT_INS = (Hosted("web_search", "sky", "https://a.example"), Hosted("code", "print(1)", "1"))
RAN_ITS_OWN = Reply("Blue.", "Hm.", (Act("vote", '{"agent_id": "agent1"}'),), BUILT_INS)
BUILT_IN_MODELS: dict[BackendType, str] = {"claude": "claude-sonnet-4-5", "gemini": "gemini-3-flash-preview"}
ON = {"enable_web_search": True, "enable_code_execution": True, "reasoning": {"effort": "low"}, "max_tokens": 3000}


async def of_provider(
    kind: BackendType,
    model: str,
    settings: Mapping[str, Any],
    said: Reply = RAN_ITS_OWN,
    history: Sequence[Message] = (),
) -> tuple[list[Chunk], Any]:
    """What came from a provider with `settings`, which is offered `vote`, and the body it was sent."""
    async with Simulator(lambda _: said) as sim:
        backend = of_kind(sim, kind, model, **settings)
        try:
            got = await chunks(backend, Request([messages.user("Vote"), *history], [VOTE]))
        finally:
            await backend.aclose()
        return got, sim.calls[-1].body


def calls_in(got: list[Chunk]) -> tuple[ToolCall, ...]:
    reply = messages.Reply()
    for chunk in got:
        reply.add(chunk)
    return reply.message.tool_calls


async def test_claude_runs_its_tools_beside_ours_and_its_calls_are_not_taken_for_ours() -> None:
    got, sent = await of_provider("claude", "claude-sonnet-4-5", ON)
    assert [tool["name"] for tool in sent["tools"]] == ["vote", "web_search", "code_execution"]
    assert sent["thinking"]["type"] == "enabled"
    assert TextDelta("Blue.") in got
    assert ReasoningDelta("Hm.") in got
    (made,) = calls_in(got)
    assert (made.name, json.loads(made.arguments)) == ("vote", {"agent_id": "agent1"})


@pytest.mark.parametrize("kind", BUILT_IN_MODELS)
async def test_a_search_that_nobody_asked_for_is_not_taken_for_our_call(kind: BackendType) -> None:
    got, _ = await of_provider(kind, BUILT_IN_MODELS[kind], {}, say("Rain.", hosted=BUILT_INS))
    assert got[0] == TextDelta("Rain.")
    assert calls_in(got) == ()


async def test_a_tool_that_does_not_exist_is_heard_where_the_provider_has_none_of_its_own() -> None:
    got, _ = await of_provider("claude", "claude-sonnet-4-5", {}, call("fly", to="Oslo"))
    assert [made.name for made in calls_in(got)] == ["fly"]


async def test_gemini_runs_its_tools_beside_ours() -> None:
    got, sent = await of_provider("gemini", "gemini-3-flash-preview", {**ON, "seed": 3, "stop": ["x"]})
    assert [key for tool in sent["tools"] for key in tool] == [
        "function_declarations",
        "googleSearch",
        "code_execution",
    ]
    assert sent["toolConfig"] == {"includeServerSideToolInvocations": True}
    assert sent["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "low"
    assert (sent["generationConfig"]["seed"], sent["generationConfig"]["stop_sequences"]) == (3, ["x"])
    assert TextDelta("Blue.") in got
    assert [made.name for made in calls_in(got)] == ["vote"]


async def test_azure_takes_what_openai_calls_them_for_a_deployment_named_like_its_model() -> None:
    settings = {"reasoning": {"effort": "low"}, "text": {"verbosity": "low"}, "seed": 1}
    async with Simulator(lambda _: say("Hi")) as sim:
        options = builtins.plan("azure_openai", settings).options
        backend = Gateway("azure/gpt-5-mini", api_key=KEY, base_url=sim.address("azure_openai"), options=options)
        await chunks(backend)
        await backend.aclose()
        (sent,) = sim.calls
    assert [sent.body[name] for name in ("reasoning_effort", "verbosity", "seed")] == ["low", "low", 1]


async def test_a_key_of_the_environment_given_reaches_litellm_and_is_known_as_a_secret() -> None:
    async with Simulator(lambda _: say("Hi"), keys={KEY}) as sim, HttpPool() as pool:
        section = {"type": "litellm", "model": "openai/some-model", "base_url": sim.base_url}
        config = Config.model_validate({"agents": [{"backend": section}]})
        async with build(config, {"OPENAI_API_KEY": KEY}, pool) as team:
            (agent,) = team.agents.values()
            assert isinstance(agent, LoopAgent)
            assert TextDelta("Hi") in [chunk async for chunk in agent.backend.stream(HELLO)]
            assert team.secrets == (KEY,)


@pytest.mark.parametrize(
    ("kind", "field", "tool"),
    [
        ("claude", {"inference_geo": "us"}, {"type": "web_fetch_20250910", "name": "web_fetch"}),
        ("gemini", {"cachedContent": "cachedContents/1"}, {"urlContext": {}}),
    ],
)
async def test_extra_fields_and_tools_are_sent_as_they_are(
    kind: BackendType, field: Mapping[str, str], tool: Mapping[str, Any]
) -> None:
    settings = {"enable_code_execution": True, "extra_body": {**field, "tools": [tool]}}
    _, sent = await of_provider(kind, BUILT_IN_MODELS[kind], settings, said=call("vote"))
    assert field.items() <= sent.items()
    assert "extra_body" not in sent
    assert len(sent["tools"]) == 3


async def test_a_claude_that_thinks_takes_a_history_of_calls_whose_thoughts_are_gone() -> None:
    made = ToolCall("toolu_1", "vote", "{}")
    history = [Message("assistant", (made,)), messages.tool_result(made, "No such agent.", is_error=True)]
    settings = {"reasoning": {"effort": "low"}, "max_tokens": 3000}
    _, sent = await of_provider("claude", "claude-sonnet-4-5", settings, call("vote"), history)
    assert "thinking" not in sent
    assert [block["type"] for message in sent["messages"] for block in message["content"]][-2:] == [
        "tool_use",
        "tool_result",
    ]


def test_the_model_is_named_for_people() -> None:
    assert Gateway("gemini/gemini-2.5-flash").model == "gemini/gemini-2.5-flash"


WHOLE_LIFE = """
    import asyncio, sys

    def watch(event, args):
        if event == "socket.connect" and args[1][0] not in ("127.0.0.1", "::1"):
            print("connects to", args[1])
        if event == "socket.getaddrinfo" and args[0] not in ("127.0.0.1", "::1", "localhost"):
            print("looks up", args[0])

    sys.addaudithook(watch)

    from massgen import messages
    from massgen.backends import Request, Tool
    from massgen.backends.gateway import Gateway, preload
    from massgen.errors import BackendError

    HELLO = Request([messages.user("Hello")], [Tool("vote", "", {"type": "object", "properties": {}})])
    assert "litellm" not in sys.modules, "litellm loads only where it is used"
    preload()

    async def main(base_url):
        for model in ("openai/fine", "openai/broken", "anthropic/elsewhere", "azure/gpt-5.4"):
            root = base_url if model.startswith("openai") else base_url.removesuffix("/v1")
            options = {"reasoning_effort": "low"} if model.startswith("azure") else {}
            backend = Gateway(model, api_key="none", base_url=root, options=options)
            try:
                async for _ in backend.stream(HELLO):
                    pass
            except BackendError:
                assert model not in ("openai/fine", "azure/gpt-5.4")
            await backend.aclose()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    asyncio.run(main(sys.argv[1]))
"""


SHOW_WARNINGS = ("-W", "always::ResourceWarning", "-W", "always::RuntimeWarning")
"""Of what was not closed, and what was never awaited."""


async def test_a_process_speaks_only_to_its_server_says_nothing_and_ends_without_a_warning() -> None:
    async with Simulator(lambda asked: fault(status=500) if asked.model == "broken" else say("Hi")) as sim:
        command = [sys.executable, *SHOW_WARNINGS, "-c", textwrap.dedent(WHOLE_LIFE), sim.base_url]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_preloading_again_starts_no_second_import() -> None:
    assert preload() is preload()


@pytest.mark.parametrize(
    ("kind", "model", "taught"),
    [
        ("claude", "anthropic/claude-x", {"rpm": 77}),
        ("openai", "openai/m", {"rpm": 77}),
        ("gemini", "gemini/flash", {}),
    ],
)
async def test_the_headers_of_an_accepted_call_teach_its_limits(
    kind: str, model: str, taught: Mapping[str, float]
) -> None:
    heard: list[Mapping[str, str]] = []
    async with Simulator(lambda _: say("Hi.", limits=Limits(requests=77))) as sim:
        backend = Gateway(model, api_key=KEY, base_url=sim.address(kind))
        try:
            await chunks(backend, replace(HELLO, accepted=heard.append))
        finally:
            await backend.aclose()
    (headers,) = heard
    assert {name: limit for name, limit in learned(kind, 200, headers).limits.items() if name == "rpm"} == taught
