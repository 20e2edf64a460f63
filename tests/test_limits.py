"""Rate limits in a run: calls wait until their provider allows them, and what is said of it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import massgen
from massgen.agents import Task, Turn
from massgen.agents.calls import Retry, call
from massgen.backends import Request, Tool, tokens
from massgen.backends.chat_completions import ChatCompletions, HttpPool
from massgen.backends.limited import Limited, Terms, hear
from massgen.errors import BackendError, Exit, QuotaError
from massgen.events import Fact, Said, Spent, Waited
from massgen.limiter import Limiter
from massgen.limiter.quotas import Limits, Profile
from massgen.log import read
from massgen.messages import Chunk, Media, Message, Text, ToolCall, ToolResult, Usage, Waiting, user
from tests.command import massgen as command
from tests.command import write_config
from tests.providers import Call, Policy, Reply, Simulator, Team, fault, say
from tests.providers import call as act
from tests.providers.policy import Limits as Headers
from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(30)

HELLO = Request([user("Hello")])
Facts = list[Fact]


@asynccontextmanager
async def limited(
    policy: Policy, limits: Limits, *, longest: float = 10.0, **profile: Any
) -> AsyncGenerator[tuple[Limited, Limiter, Simulator]]:
    """A real client under `limits`, at a simulated provider."""
    known = Profile(limits=limits, dialect="openai", **profile)
    limiter = Limiter(lambda provider, model: known, waited=hear)
    async with Simulator(policy) as sim, HttpPool() as pool:
        backend = ChatCompletions(pool, base_url=sim.base_url, model="m", api_key="sk-0123456789")
        yield Limited(backend, limiter, Terms("openai", "m", "", longest)), limiter, sim
        await limiter.aclose()


async def asked(backend: Limited, waits: Callable[[Waiting], None] = lambda wait: None) -> list[Chunk]:
    return [chunk async for chunk in backend.stream(Request(HELLO.messages, waits=waits))]


def turn(facts: Facts, shown: list[Chunk]) -> Turn:
    return Turn(
        1,
        "ada",
        "solo",
        Task("q"),
        {},
        True,
        lambda *said: facts.extend(said),
        shown.append,
        lambda: None,
        lambda act: None,
    )


async def test_a_call_that_must_wait_is_shown_and_recorded_and_then_made() -> None:
    facts: Facts = []
    shown: list[Chunk] = []
    async with limited(lambda _: say("Hi."), Limits(rpm=2, minute_seconds=0.3)) as (backend, _, sim):
        for _ in range(3):
            await call(backend, HELLO, turn(facts, shown), Retry())
    assert len(sim.calls) == 3
    first, second = (chunk for chunk in shown if isinstance(chunk, Waiting))
    assert (first.dimension, first.used, first.limit, first.over) == ("rpm", 2, 2, False)
    assert second.over
    assert [type(fact) for fact in facts] == [Said, Spent, Said, Spent, Waited, Said, Spent]
    (waited,) = (fact for fact in facts if isinstance(fact, Waited))
    assert 0 < waited.seconds <= 1.5
    assert (waited.agent, waited.turn, waited.dimension) == ("ada", 1, "rpm")


async def test_a_call_occupies_its_window_until_the_response_begins_and_is_weighed_by_what_it_used() -> None:
    reply = say("Hi.", input_tokens=70, output_tokens=5)
    async with limited(lambda _: reply, Limits(tpm=10_000)) as (backend, limiter, _):
        await asked(backend)
        assert (await limiter.use())["openai/m"]["tpm"] == (75, 10_000)
        counts = limiter.counts()["openai/m"]
    assert counts.granted == 1
    assert counts.used == 75
    assert counts.reserved > 1_000


async def test_a_429_holds_the_whole_key_as_long_as_it_asks_for_and_is_counted() -> None:
    replies = [fault(status=429, retry_after=1, message="Rate limit reached"), say("Hi.")]
    facts: Facts = []
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    async with limited(lambda _: replies.pop(0), Limits()) as (backend, limiter, sim):
        await call(backend, HELLO, turn(facts, []), Retry(sleep=nap, jitter=lambda: 0.0))
        assert sum(limiter.counts()["openai/m"].rejected.values()) == 1
    assert len(sim.calls) == 2
    assert naps == [0.5]  # the queue waits, not the caller
    (waited,) = (fact for fact in facts if isinstance(fact, Waited))
    assert 0.9 < waited.seconds < 3


async def test_money_that_is_spent_is_no_matter_of_waiting() -> None:
    spent = fault(status=429, code="insufficient_quota", message="You exceeded your current quota: insufficient_quota")
    async with limited(lambda _: spent, Limits()) as (backend, limiter, _):
        with pytest.raises(BackendError, match="quota") as caught:
            await asked(backend)
        assert not caught.value.transient
        assert not limiter.counts()["openai/m"].rejected


async def test_other_failures_count_as_calls_and_an_unreachable_provider_too() -> None:
    async with limited(lambda _: fault(status=503), Limits(rpm=9)) as (backend, limiter, _):
        with pytest.raises(BackendError, match="503"):
            await asked(backend)
        assert (await limiter.use())["openai/m"]["rpm"] == (1, 9)


async def test_a_wait_longer_than_a_turn_is_refused_at_once_with_what_to_do() -> None:
    async with limited(lambda _: say("Hi."), Limits(rpm=1), longest=5.0) as (backend, limiter, sim):
        await asked(backend)
        with pytest.raises(BackendError, match=r"^openai/m: the limit rpm is used up \(1 of 1\)") as caught:
            await asked(backend)
        assert "rate_limits" in str(caught.value)
        assert not caught.value.transient
        assert limiter.counts()["openai/m"].queued == 0
    assert len(sim.calls) == 1


async def test_no_quota_is_an_error_that_says_so() -> None:
    async with limited(lambda _: say("Hi."), Limits(rpm=0)) as (backend, _, sim):
        with pytest.raises(QuotaError, match="no quota"):
            await asked(backend)
    assert not sim.calls


async def test_agents_of_one_model_start_apart() -> None:
    shown: list[Waiting] = []
    async with limited(lambda _: say("Hi."), Limits(), cooldown=0.3) as (backend, limiter, _):
        other = Limited(backend._backend, limiter, backend._terms)
        await asyncio.gather(asked(backend, shown.append), asked(other, shown.append))
        await asked(backend, shown.append)
    assert [(wait.dimension, wait.over) for wait in shown] == [("cooldown", False), ("cooldown", True)]


async def test_a_caller_that_leaves_while_waiting_leaves_nothing_behind() -> None:
    async with limited(lambda _: say("Hi."), Limits(rpm=1, minute_seconds=60), longest=100) as (backend, limiter, _):
        await asked(backend)
        waiting = asyncio.Event()
        task = asyncio.create_task(asked(backend, lambda wait: waiting.set()))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert limiter.counts()["openai/m"].queued == 0
        assert (await limiter.use())["openai/m"]["rpm"] == (1, 1)


def test_tokens_are_counted_offline_for_every_kind_of_part() -> None:
    tools = (Tool("vote", "Votes.", {"type": "object"}),)
    parts = (
        Text("one two three"),
        Media("image/png", b"x"),
        ToolCall("1", "vote", '{"a": 1}'),
        ToolResult("1", "done"),
    )
    alone = [tokens.count(Request([Message("user", (part,))])) for part in parts]
    assert alone[0] == 3 + tokens.OVERHEAD
    assert alone[1] == tokens.PICTURE + tokens.OVERHEAD
    assert tokens.count(Request([Message("user", parts)], tools)) > sum(alone) - 3 * tokens.OVERHEAD
    assert tokens.count(Request([user("a" * 300_000)])) == 100_000 + tokens.OVERHEAD


def agreeing(asked: Call) -> Reply:
    """Agents that cannot be told apart, all of one mind."""
    if "vote" in asked.tools:
        return act("vote", agent_id="agent1", reason="It is right.")
    return act("new_answer", content="Paris.") if asked.tools else say("Paris.")


async def test_agents_that_share_a_model_share_its_limits_and_the_log_tells_each_wait() -> None:
    async with Simulator(agreeing) as sim:
        agent = {"backend": {"type": "chatcompletion", "model": "m", "base_url": sim.base_url}}
        config = {"agents": [agent] * 3, "rate_limits": {"chatcompletion": {"default": {"concurrency": 1}}}}
        result = await massgen.arun("What?", config)
    waited = [entry.fact for entry in read(result.session / "events.jsonl") if isinstance(entry.fact, Waited)]
    assert result.answer == "Paris."
    assert {(fact.dimension, fact.limit) for fact in waited} == {("concurrency", 1)}


async def test_a_day_that_is_used_up_ends_the_run_with_its_reason_and_lasts_beyond_it(tmp_path: Path) -> None:
    limits = {"chatcompletion": {"default": {"rpd": 1}}}
    async with Simulator(Team(final="Paris.")) as sim:
        config = write_config(tmp_path / "team.yaml", sim.base_url, 1, rate_limits=limits)
        runs = [await command("--config", str(config), "What?") for _ in range(2)]
        status = await command("limits", "status", str(config), "--json")
        off = await command("--config", str(config), "--no-rate-limit", "What?")
    assert [ran.code for ran in runs] == [Exit.ANSWER, Exit.NO_ANSWER]
    assert "the limit rpd is used up (1 of 1)" in runs[1].err
    assert json.loads(status.out)["chatcompletion"]["m1"]["rpd"] == {"used": 1, "limit": 1}
    assert off.code == Exit.ANSWER


async def test_what_a_reply_teaches_is_a_note_of_the_result() -> None:
    replies = {"first": True}

    def policy(_: object) -> Reply:
        if replies.pop("first", False):
            return fault(status=429, retry_after=0.2, limits=Headers(requests=3, requests_left=0, reset=0.2))
        return say("Paris.")

    async with Simulator(policy) as sim:
        agent = {"backend": {"type": "openai", "model": "m", "api_key": "sk-0123456789", "base_url": sim.base_url}}
        result = await massgen.arun("What?", {"agents": [agent]})
    assert result.answer == "Paris."
    assert any("openai/m: the provider allows 3 requests a minute" in note for note in result.notes)


@pytest.mark.parametrize("switch", [{"enable_rate_limit": False}, {}])
async def test_limits_may_be_switched_off(switch: Mapping[str, Any]) -> None:
    async with Simulator(lambda _: say("Paris.")) as sim:
        agent = {"backend": {"type": "chatcompletion", "model": "m", "base_url": sim.base_url}}
        config = {"agents": [agent], "rate_limits": {"chatcompletion": {"m": {"rpm": 0}}}, **switch}
        result = await massgen.arun("What?", config)
    assert result.exit_code == (Exit.ANSWER if switch else Exit.NO_ANSWER)


def test_usage_of_unknown_cost_is_priced() -> None:
    terms = Terms("p", "m", "", 1.0, price=lambda taken, given: taken + 10.0 * given)
    weigh = Limited(None, None, terms)._weights  # type: ignore[arg-type]
    assert weigh(1, 2, None).cost == 21
    assert weigh(1, 2, 0.5).cost == 0.5
    assert Usage(1, 2).cost is None


@pytest.mark.parametrize(("store", "kept"), [("process", False), ("machine", True), ("", False)])
async def test_where_it_is_counted_is_chosen(store: str, kept: bool, tmp_path: Path) -> None:
    async with Simulator(lambda _: say("Paris.")) as sim:
        agent = {"backend": {"type": "chatcompletion", "model": "m", "base_url": sim.base_url, "max_tokens": 50}}
        limits = {"chatcompletion": {"m": {"rpm": 9}}}
        result = await massgen.arun("What?", {"agents": [agent], "rate_limits": limits, "rate_limit_store": store})
    assert result.exit_code == Exit.ANSWER
    assert bool([*tmp_path.rglob("quotas.db")]) == kept


@pytest.mark.redis
async def test_hosts_share_their_limits_through_redis() -> None:
    agent = {"backend": {"type": "chatcompletion", "model": "m", "max_tokens": 50}}
    limits = {"chatcompletion": {"m": {"rpd": 1}}}
    with RedisServer() as redis:
        async with Simulator(lambda _: say("Paris.")) as sim:
            agent["backend"]["base_url"] = sim.base_url
            team = {"agents": [agent], "rate_limits": limits, "rate_limit_store": redis.url}
            codes = [(await massgen.arun("What?", team)).exit_code for _ in range(2)]
    assert codes == [Exit.ANSWER, Exit.NO_ANSWER]


async def test_a_server_that_never_answers_leaves_a_share(tmp_path: Path) -> None:
    async with Simulator(lambda _: say("Paris.")) as sim:
        agent = {"backend": {"type": "chatcompletion", "model": "m", "base_url": sim.base_url}}
        store = f"unix://{tmp_path}/nothing.sock"
        result = await massgen.arun("What?", {"agents": [agent], "rate_limit_store": store})
    assert result.answer == "Paris."
    (note,) = result.notes
    assert "nothing.sock" in note
    assert "kept to a share" in note


async def test_agents_that_keep_to_no_limits_need_no_limiter() -> None:
    async with Simulator(lambda _: say("Paris.")) as sim:
        agents = [
            {"backend": {"type": "chatcompletion", "model": "m", "base_url": sim.base_url}, "enable_rate_limit": on}
            for on in (True, False)
        ]
        limits = {"chatcompletion": {"m": {"rpm": 0}}}
        result = await massgen.arun("What?", {"agents": agents, "rate_limits": limits})
    assert [*result.failures] == ["agent1"]
    assert "no quota" in result.failures["agent1"]
