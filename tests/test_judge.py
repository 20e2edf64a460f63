"""The limiter before the judge: no refusals, and next to nothing of the provider's quota left unused."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiolimiter import AsyncLimiter

from massgen.limiter import Limiter
from massgen.limiter.quotas import Feedback, Limits, Profile, Weights
from massgen.limiter.stores.memory import Memory
from tests.judge import MORNING, Refusal, Strict, Trial, Work, bursts, clairvoyant, mixed, perform, trial

pytestmark = pytest.mark.timeout(60)
JITTER = 0.02, 0.6


def feedback(refusal: Refusal) -> Feedback:
    named = {refusal.dimension: refusal.limit} if refusal.named else {}
    return Feedback(limits=named, retry_after=refusal.retry_after, per_day=refusal.dimension == "rpd")


class Ours:
    """The limiter as a judged caller, whose replies go on for `lasts` seconds after their headers."""

    def __init__(
        self,
        limits: Limits,
        *,
        pacing: bool = False,
        counts: bool = True,
        lasts: float = 0.0,
        store: Any = None,
        **clocks: Any,
    ):
        self.lasts, self.dice = lasts, random.Random(2)
        profile = Profile(limits=limits, pacing=pacing, failed_calls_count=counts)
        clocks = {"clock": lambda: asyncio.get_running_loop().time(), **clocks}
        self.limiter = Limiter(lambda provider, model: profile, store=store, **clocks)

    async def __call__(self, work: Work, send: Callable[[], Awaitable[Refusal | None]]) -> None:
        async with self.limiter.slot("p", "m", estimate=Weights(work.reserved)) as slot:
            if refusal := await send():
                slot.rejected(feedback(refusal))
                return
            slot.acked()
            await asyncio.sleep(self.dice.uniform(0, self.lasts))
            slot.finish(Weights(work.tokens))


def judged(provider: Strict, limits: Limits, works: list[Work], until: float, **more: Any) -> Trial:
    how = {name: more.pop(name) for name in ("pacing", "counts", "lasts") if name in more}

    async def scene() -> Trial:
        return await trial(provider, works, Ours(limits, **how), until=until, **more)

    result = perform(scene)
    assert not result.errors, result.errors
    return result


def jitter(seed: int = 3) -> Callable[[], float]:
    dice = random.Random(seed)
    return lambda: dice.uniform(*JITTER)


@pytest.mark.parametrize("rpm", [2, 9, 600])
def test_a_burst_is_served_at_the_full_rate_in_order_without_a_refusal(rpm: int):
    works, until = [Work(0.0)] * (rpm * 6), 330.0
    result = judged(Strict(rpm=rpm), Limits(rpm=rpm), works, until)
    assert not result.provider.refused
    assert len(result.provider.served) >= 0.995 * clairvoyant(works, until, rpm=rpm)[0]
    assert max(result.waits.values()) < 300.1
    assert result.overtakings == 0


def test_aiolimiter_alone_lets_seventeen_calls_through_where_nine_are_allowed():
    async def scene() -> Trial:
        bucket = AsyncLimiter(9, 60)

        async def caller(work: Work, send: Callable[[], Awaitable[Refusal | None]]) -> None:
            async with bucket:
                await send()

        return await trial(Strict(), [Work(0.0)] * 40, caller, until=60.0)

    arrived = [at for at, _ in perform(scene).provider.served]
    assert sum(at < 59.9 for at in arrived) == 17


@pytest.mark.parametrize("seed", range(5))
def test_random_bursts_are_never_refused_and_wait_no_longer_than_they_must(seed: int):
    works, until = bursts(seed, 1800.0), 1800.0
    result = judged(Strict(rpm=9), Limits(rpm=9), works, until)
    assert not result.provider.refused
    assert len(result.provider.served) >= 0.995 * clairvoyant(works, until, rpm=9)[0]
    assert result.overtakings == 0


def test_mixed_sizes_are_all_served_in_order_and_use_the_tokens_of_a_minute():
    works, until = mixed(600), 3600.0
    result = judged(Strict(tpm=20_000), Limits(tpm=20_000), works, until, lasts=20.0)
    assert not result.provider.refused
    assert len(result.provider.served) == 600
    assert result.provider.served[-1][0] <= clairvoyant(works, until, tpm=20_000)[1] / 0.93
    assert result.overtakings == 0


@pytest.mark.parametrize("seed", range(3))
def test_jitter_of_the_network_draws_no_refusal(seed: int):
    works, until = [Work(0.0)] * 1200, 1300.0
    result = judged(Strict(rpm=60), Limits(rpm=60), works, until, latency=jitter(seed))
    assert not result.provider.refused
    assert len(result.provider.served) == 1200
    assert result.provider.served[-1][0] <= clairvoyant(works, until, rpm=60)[1] / 0.985


def test_a_storm_of_cancellations_costs_no_capacity():
    dice = random.Random(5)
    stormy = [Work(dice.uniform(0, 300), gives_up=dice.choice([0.0, 0.1, 5.0, 40.0, 90.0])) for _ in range(600)]
    works = sorted([*stormy, *[Work(300.0)] * 200], key=lambda work: work.at)
    result = judged(Strict(rpm=30), Limits(rpm=30), works, 600.0, latency=jitter())
    assert not result.provider.refused
    assert len(result.provider.between(361.0, 600.0)) >= 0.97 * 4 * 30


def test_an_agents_round_that_fits_waits_for_nothing():
    works = [Work(90.0 * turn) for turn in range(10) for _ in range(5)]
    result = judged(Strict(rpm=10), Limits(rpm=10), works, 1000.0)
    assert not result.provider.refused
    assert max(result.waits.values()) < 1e-3


def test_a_quantised_provider_is_content_with_paced_calls():
    provider = Strict(rpm=60, quantum=(1.0, 1))
    result = judged(provider, Limits(rpm=60), [Work(0.0)] * 700, 600.0, pacing=True)
    assert not provider.refused
    assert len(result.provider.served) >= 0.99 * 600


@pytest.mark.parametrize("latency", [None, jitter()], ids=["without latency", "with jitter"])
@pytest.mark.parametrize(("names", "most"), [(True, 8), (False, 12)], ids=["named", "nameless"])
@pytest.mark.parametrize("counts", [True, False], ids=["failed calls count", "failed calls do not count"])
def test_a_silent_drop_of_the_limit_costs_few_refusals(names: bool, most: int, counts: bool, latency: Any):
    provider, works = Strict(rpm=20, names=names), [Work(0.0)] * 900
    lower = (301.0, lambda: setattr(provider, "rpm", 12))
    more = {} if latency is None else {"latency": latency}
    result = judged(provider, Limits(rpm=20), works, 300.0 + 35 * 60, events=[lower], counts=counts, **more)
    assert 1 <= len(provider.refused) <= most
    assert len(result.provider.between(480.0, 300.0 + 35 * 60)) >= 0.9 * 12 * 32


def test_a_limit_that_rises_again_is_found_again():
    provider = Strict(rpm=20, names=False)
    events = [(301.0, lambda: setattr(provider, "rpm", 12)), (900.0, lambda: setattr(provider, "rpm", 20))]
    result = judged(provider, Limits(rpm=20), [Work(0.0)] * 3000, 6000.0, events=events)
    assert len(result.provider.between(5400.0, 6000.0)) >= 0.9 * 10 * 20


def test_a_day_is_used_once_though_the_program_restarts_in_it():
    """The store outlives the limiter, as a file does; a restart cuts off what is in flight."""

    async def scene() -> Strict:
        loop = asyncio.get_running_loop()
        clock, wall = loop.time, lambda: MORNING + loop.time()
        provider, store, limits = Strict(rpm=9, rpd=100), Memory(clock, wall), Limits(rpm=9, rpd=100)
        for start in range(0, 36 * 3600, 3 * 3600):
            ours = Ours(limits, store=store, clock=clock, wall=wall)
            works = [Work(start + 1.0)] * 70
            result = await trial(provider, works, ours, until=start + 3 * 3600.0, latency=jitter(start))
            assert not result.errors
        return provider

    provider = perform(scene)
    assert not provider.refused
    assert [len(provider.between(0, 15 * 3600)), len(provider.between(15 * 3600, 36 * 3600))] == [100, 100]


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_wall_clock_set_wrong_by_an_hour_grants_no_day_twice_and_stalls_no_minute(step: float):
    """What is granted while the clocks disagree counts on both sides of midnight."""

    async def scene() -> Strict:
        loop = asyncio.get_running_loop()
        provider = Strict(rpm=9, rpd=200)
        wall = lambda: MORNING + loop.time() + (step if loop.time() > 14.6 * 3600 else 0.0)  # noqa: E731 - a clock
        ours = Ours(Limits(rpm=9, rpd=200), clock=loop.time, wall=wall)
        works = [Work(14 * 3600.0)] * 100 + [Work(14.7 * 3600.0)] * 400
        await trial(provider, works, ours, until=17 * 3600.0)
        return provider

    provider = perform(scene)
    assert not provider.refused
    assert len(provider.between(0, 15 * 3600)) == 200
    assert len(provider.between(15 * 3600, 17 * 3600)) >= 100
