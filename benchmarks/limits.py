"""Rate limits: refusals and throughput before a strict provider in virtual time, and what a call costs, beside three libraries.

As a program it prints its figures as JSON. Throughput is compared with that of a clairvoyant scheduler; costs are CPU time.
"""

import asyncio
import json
import random
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiolimiter import AsyncLimiter
from limits import RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from pyrate_limiter import InMemoryBucket, Rate, RateItem
from pyrate_limiter import Limiter as Pyrate

from benchmarks.measure import Probe
from benchmarks.scenarios import FAST, Figure, Row
from massgen.limiter import Limiter
from massgen.limiter.quotas import Limits, Profile, Weights
from massgen.limiter.stores.memory import Memory
from tests.judge import MORNING, Caller, Refusal, Strict, Trial, Work, bursts, clairvoyant, mixed, perform, trial
from tests.test_judge import Ours, jitter

HOUR = 3600.0
OPEN = Profile(limits=Limits(rpm=10**9, tpm=10**15, rpd=10**9))
"""Limits that are counted and never reached."""
Call = Callable[[], Awaitable[Any]]


def probes() -> list[Probe]:
    parts = "exactness", "overhead", "scale", "memory", "herd"
    return [Probe(f"limits: {part}", (sys.executable, "-m", "benchmarks.limits", part), FAST) for part in parts]


def rows() -> list[Row]:
    return [*_exactness_rows(), *_overhead_rows(), *_scale_rows()]


def _exactness_rows() -> list[Row]:
    def figure(key: str) -> Figure:
        return Figure("limits: exactness", key)

    return [
        Row("rate limits: refusals in 15 scenarios", "", figure("refused"), limit=0, exact=True),
        *(Row(f"the same with {peer}, in 12 of them", "", figure(f"{peer}_refused")) for peer in PEERS),
        Row("left unused of requests a minute", "%", figure("rpm_unused"), scale=100, limit=0.5),
        Row("the same, with jitter of 20 to 600 ms", "%", figure("jitter_unused"), scale=100, limit=1.5),
        Row("left unused of tokens a minute", "%", figure("tpm_unused"), scale=100, limit=7),
        *(Row(f"the same with {peer}", "%", figure(f"{peer}_tpm_unused"), scale=100) for peer in PEERS),
    ]


def _overhead_rows() -> list[Row]:
    ours = Figure("limits: overhead", "ours_us")
    peers = {peer: Figure("limits: overhead", f"{peer}_us") for peer in ("aiolimiter", "pyrate", "limits")}
    return [
        Row("a call that need not wait: CPU", "µs", ours, limit=10, cpu=True),
        Row("the same / three of aiolimiter", "x", ours, peers["aiolimiter"], limit=1.5),
        *(Row(f"the same with {peer}", "µs", figure) for peer, figure in peers.items()),
    ]


def _scale_rows() -> list[Row]:
    million = Figure("limits: scale", "million_us")
    small, large = (Figure("limits: memory", key) for key in ("small_mb", "large_mb"))
    herd = Figure("limits: herd", "herd_s")
    return [
        Row("a call among a million of its window: CPU", "µs", million, limit=1e6 / 150_000, cpu=True),
        Row("the same / among 10,000", "x", million, Figure("limits: scale", "ten_thousand_us"), limit=1 / 0.65),
        Row("memory of 100,000 calls", "MB", small, limit=12),
        Row("the same, of 100,000 tokens each", "MB", large, limit=12),
        Row("1,000 grants to 1,000 who wait: CPU", "s", herd, limit=0.12, cpu=True),
    ]


@dataclass(frozen=True, eq=False)
class Scenario:
    """Works before a provider with these limits; `wall` says what the machine's clock shows at a time."""

    limits: Limits
    works: Sequence[Work]
    until: float
    latency: Callable[[], float] = lambda: 0.0
    lasts: float = 0.0
    """Seconds that replies take after their headers, at most."""
    wall: Callable[[float], float] = lambda now: MORNING + now

    def provider(self) -> Strict:
        return Strict(rpm=self.limits.rpm, tpm=self.limits.tpm, rpd=self.limits.rpd)

    def performed(self, caller: Callable[["Scenario"], Caller]) -> Trial:
        async def scene() -> Trial:
            return await trial(self.provider(), self.works, caller(self), until=self.until, latency=self.latency)

        result: Trial = perform(scene)
        return result

    def unused(self, result: Trial) -> float:
        """The part of the time for which a clairvoyant scheduler, who serves all sooner, would have had more work."""
        calls, last = clairvoyant(self.works, self.until, rpm=self.limits.rpm, tpm=self.limits.tpm)
        assert calls == len(result.provider.served) == len(self.works), "something was not served"
        return 1 - last / result.provider.served[-1][0]


def _storm() -> list[Work]:
    dice = random.Random(5)
    works = [Work(dice.uniform(0, 300), gives_up=dice.choice([0.0, 0.1, 5.0, 40.0, 90.0])) for _ in range(600)]
    return sorted(works, key=lambda work: work.at)


def _stepping(step: float) -> Scenario:
    works = [Work(14 * HOUR)] * 100 + [Work(14.7 * HOUR)] * 400
    wall = lambda now: MORNING + now + (step if now > 14.6 * HOUR else 0.0)  # noqa: E731 - a clock
    return Scenario(Limits(rpm=9, rpd=200), works, 17 * HOUR, wall=wall)


BURSTS = [Scenario(Limits(rpm=rpm), [Work(0.0)] * (rpm * 6), 330.0) for rpm in (2, 9, 600)]
RANDOM = [Scenario(Limits(rpm=9), bursts(seed, 1800.0), 3600.0) for seed in range(5)]
JITTER = [Scenario(Limits(rpm=60), [Work(0.0)] * 1200, 1300.0, jitter(seed)) for seed in range(2)]
MIXED = Scenario(Limits(tpm=20_000), mixed(600), 5400.0, jitter(), lasts=20.0)
STORM = Scenario(Limits(rpm=30), _storm(), 600.0, jitter())
STEPS = [_stepping(step) for step in (HOUR, -HOUR)]


def _ours(scenario: Scenario) -> Ours:
    loop = asyncio.get_running_loop()
    return Ours(scenario.limits, lasts=scenario.lasts, wall=lambda: scenario.wall(loop.time()))


def _aiolimiter(scenario: Scenario) -> Caller:
    limits = scenario.limits
    amounts = [(AsyncLimiter(limits.rpm, 60), False)] if limits.rpm else [(AsyncLimiter(limits.tpm or 1, 60), True)]

    async def caller(work: Work, send: Callable[[], Awaitable[Refusal | None]]) -> None:
        for limiter, tokens in amounts:
            await limiter.acquire(work.reserved if tokens else 1)
        await send()

    return caller


def _pyrate(scenario: Scenario) -> Caller:
    """Its bucket under its own loop of retries, in virtual time."""
    limits, lock, loop = scenario.limits, asyncio.Lock(), asyncio.get_running_loop()
    bucket = InMemoryBucket([Rate(int(limits.rpm or limits.tpm or 1), 60_000)])

    async def caller(work: Work, send: Callable[[], Awaitable[Refusal | None]]) -> None:
        async with lock:
            item = RateItem("call", int(loop.time() * 1000), work.reserved if limits.tpm else 1)
            while not bucket.put(item):
                await asyncio.sleep((bucket.waiting(item) + 50) / 1000)
                item.timestamp = int(loop.time() * 1000)
                bucket.leak(item.timestamp)
        await send()

    return caller


PEERS: dict[str, Callable[[Scenario], Caller]] = {"aiolimiter": _aiolimiter, "pyrate": _pyrate}


def exactness() -> dict[str, float]:
    ours = {scenario: scenario.performed(_ours) for scenario in (*BURSTS, *RANDOM, *JITTER, MIXED, STORM, *STEPS)}
    figures = {
        "refused": sum(len(each.provider.refused) for each in ours.values()) + len(_restarts().refused),
        "rpm_unused": max(each.unused(ours[each]) for each in (*BURSTS, *RANDOM)),
        "jitter_unused": max(each.unused(ours[each]) for each in JITTER),
        "tpm_unused": MIXED.unused(ours[MIXED]),
    }
    for name, peer in PEERS.items():
        theirs = {scenario: scenario.performed(peer) for scenario in (*BURSTS, *RANDOM, *JITTER, MIXED, STORM)}
        figures[f"{name}_refused"] = sum(len(each.provider.refused) for each in theirs.values())
        figures[f"{name}_tpm_unused"] = MIXED.unused(theirs[MIXED])
    return figures


def _restarts() -> Strict:
    """A day and a half in which the program begins anew every three hours, over what its store kept."""

    async def scene() -> Strict:
        loop = asyncio.get_running_loop()
        clock, wall = loop.time, lambda: MORNING + loop.time()
        provider, store, limits = Strict(rpm=9, rpd=100), Memory(clock, wall), Limits(rpm=9, rpd=100)
        for start in range(0, int(36 * HOUR), int(3 * HOUR)):
            ours = Ours(limits, store=store, clock=clock, wall=wall)
            await trial(provider, [Work(start + 1.0)] * 70, ours, until=start + 3 * HOUR, latency=jitter(start))
        return provider

    provider: Strict = perform(scene)
    return provider


def overhead() -> dict[str, float]:
    """The best of many short runs in turn, so that what else the machine does falls on all alike."""

    async def measured() -> dict[str, float]:
        calls = {
            "ours": _our_call(OPEN),
            "aiolimiter": _aiolimiter_call(),
            "pyrate": _pyrate_call(),
            "limits": _limits_call(),
        }
        best = dict.fromkeys(calls, float("inf"))
        for _ in range(60):
            for name, call in calls.items():
                best[name] = min(best[name], await _cpu(call, 2000 if name in ("ours", "aiolimiter") else 100))
        return {f"{name}_us": value * 1e6 for name, value in best.items()}

    return asyncio.run(measured())


async def _cpu(call: Call, times: int) -> float:
    """Seconds of CPU a call."""
    began = time.process_time()
    for _ in range(times):
        await call()
    return (time.process_time() - began) / times


def _our_call(profile: Profile, tokens: int = 150) -> Call:
    limiter, estimate, actual = Limiter(lambda provider, model: profile), Weights(tokens, 50), Weights(tokens, 40)

    async def call() -> None:
        async with limiter.slot("provider", "model", estimate=estimate) as slot:
            slot.acked()
            slot.finish(actual)

    return call


def _aiolimiter_call() -> Call:
    rpm, tpm, rpd = AsyncLimiter(10**9, 60), AsyncLimiter(10**15, 60), AsyncLimiter(10**9, 86_400)

    async def call() -> None:
        async with rpm, rpd:
            await tpm.acquire(150)

    return call


def _pyrate_call() -> Call:
    limiters = [Pyrate(InMemoryBucket([Rate(10**9, period)])) for period in (60_000, 60_000, 86_400_000)]

    async def call() -> None:
        for limiter, weight in zip(limiters, (1, 150, 1), strict=True):
            await limiter.try_acquire_async("call", weight)

    return call


def _limits_call() -> Call:
    strategy = MovingWindowRateLimiter(MemoryStorage())
    minute, day = RateLimitItemPerMinute(10**9), RateLimitItemPerDay(10**9)

    async def call() -> None:
        await strategy.hit(minute, "requests")
        await strategy.hit(minute, "tokens", cost=150)
        await strategy.hit(day, "requests")

    return call


def scale() -> dict[str, float]:
    """A million calls in one window, in parts of 10,000: the best of the first ten parts, and of the last."""

    async def measured() -> list[float]:
        call = _our_call(OPEN)
        return [await _cpu(call, 10_000) * 1e6 for _ in range(100)]

    parts = asyncio.run(measured())
    return {"ten_thousand_us": min(parts[:10]), "million_us": min(parts[-10:])}


def memory() -> dict[str, float]:
    def held(tokens: int) -> float:
        call = _our_call(OPEN, tokens)
        tracemalloc.start()
        asyncio.run(_cpu(call, 100_000))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return held / 2**20

    return {"small_mb": held(1), "large_mb": held(100_000)}


def herd() -> dict[str, float]:
    async def scene() -> None:
        profile = Profile(limits=Limits(rpm=100))
        limiter = Limiter(lambda provider, model: profile, clock=asyncio.get_running_loop().time)

        async def caller() -> None:
            for _ in range(3):
                async with limiter.slot("provider", "model", estimate=Weights()) as slot:
                    slot.acked()
                    slot.finish(None)

        await asyncio.gather(*[caller() for _ in range(1000)])

    began = time.process_time()
    perform(scene)
    return {"herd_s": (time.process_time() - began) / 3}


if __name__ == "__main__":
    parts = {"exactness": exactness, "overhead": overhead, "scale": scale, "memory": memory, "herd": herd}
    print(json.dumps(parts[sys.argv[1]]()))
