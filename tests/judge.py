"""A strict provider in virtual time, and scenarios of calls under a limiter. It counts violations itself: it never imports the rules.

The provider stamps a call when it arrives, refuses what exceeds a limit in any 60 seconds up to then, and answers after half
the round trip. `clairvoyant` says what could have been served at most, first come, first served.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from tests.stage import VirtualLoop

MORNING = datetime(2026, 11, 21, 9, tzinfo=ZoneInfo("UTC")).timestamp()


class Ticking(VirtualLoop):
    """Virtual time that moves a nanosecond at every turn, as real time does: rounding must not stop it."""

    def time(self) -> float:
        self.leap.now += 1e-9
        return self.leap.now


def perform(scene: Callable[[], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        return await scene()

    with asyncio.Runner(loop_factory=Ticking) as runner:
        return runner.run(whole())


@dataclass(frozen=True)
class Refusal:
    """A 429; `named`: the dimension and its limit, as providers that say so do."""

    dimension: str
    limit: float
    named: bool
    retry_after: float | None = None


@dataclass
class Strict:
    """A provider with limits on requests and tokens in 60 s, requests a day in `zone`, and requests in any `quantum`."""

    rpm: float | None = None
    tpm: float | None = None
    rpd: float | None = None
    zone: str = "UTC"
    quantum: tuple[float, int] | None = None
    names: bool = True
    retry_after: float | None = None
    epoch: float = MORNING
    served: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    refused: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    _recent: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])
    _days: dict[str, int] = field(default_factory=dict[str, int])

    def arrive(self, now: float, tokens: int) -> Refusal | None:
        refusal = self._judge(now, tokens)
        if refusal:
            self.refused.append((now, refusal.dimension))
            return refusal
        self._recent.append((now, tokens))
        self.served.append((now, tokens))
        self._days[self._date(now)] = self._days.get(self._date(now), 0) + 1
        return None

    def _judge(self, now: float, tokens: int) -> Refusal | None:
        while self._recent and self._recent[0][0] + 60.0 <= now:
            self._recent.popleft()
        if self.rpd is not None and self._days.get(self._date(now), 0) >= self.rpd:
            return Refusal("rpd", self.rpd, self.names)
        if self.rpm is not None and len(self._recent) + 1 > self.rpm:
            return Refusal("rpm", self.rpm, self.names, self.retry_after)
        if self.tpm is not None and sum(size for _, size in self._recent) + tokens > self.tpm:
            return Refusal("tpm", self.tpm, self.names, self.retry_after)
        if self.quantum and sum(now - at < self.quantum[0] for at, _ in self._recent) >= self.quantum[1]:
            return Refusal("quantum", self.quantum[1], False, 1.0)
        return None

    def _date(self, now: float) -> str:
        return datetime.fromtimestamp(self.epoch + now, ZoneInfo(self.zone)).date().isoformat()

    def between(self, begin: float, end: float) -> list[tuple[float, int]]:
        return [(at, size) for at, size in self.served if begin <= at < end]


@dataclass(frozen=True)
class Work:
    """A call: when its caller comes, what it weighs, and what was reserved for it."""

    at: float
    tokens: int = 1
    reserved: int = 1
    gives_up: float | None = None
    """After how many seconds its caller cancels, in the queue or in flight."""


class Caller(Protocol):
    """How the judge speaks with whatever is judged; `send` puts the call on the wire and says what came back."""

    async def __call__(self, work: Work, send: Callable[[], Awaitable[Refusal | None]]) -> None: ...


@dataclass
class Trial:
    """What happened: `order` in which calls arrived at the provider, and how long each took to be served."""

    provider: Strict
    caller: Caller
    latency: Callable[[], float]
    origin: float
    order: list[int] = field(default_factory=list[int])
    waits: dict[int, float] = field(default_factory=dict[int, float])
    errors: list[BaseException] = field(default_factory=list[BaseException])

    @property
    def overtakings(self) -> int:
        return sum(a > b for a, b in zip(self.order, self.order[1:], strict=False))

    async def at(self, when: float) -> None:
        await asyncio.sleep(max(0.0, self.origin + when - asyncio.get_running_loop().time()))

    async def happen(self, when: float, what: Callable[[], None]) -> None:
        await self.at(when)
        what()

    async def come(self, number: int, work: Work) -> None:
        """A refused caller tries again, at the end of the queue."""
        await self.at(work.at)
        began = asyncio.get_running_loop().time()
        with suppress(TimeoutError):
            async with asyncio.timeout(work.gives_up):
                while number not in self.waits:
                    await self.caller(work, partial(self._send, number, work, began))

    async def _send(self, number: int, work: Work, began: float) -> Refusal | None:
        """What was sent arrives, also where its caller gives up before."""
        loop, there = asyncio.get_running_loop(), self.latency()
        answer: asyncio.Future[Refusal | None] = loop.create_future()
        loop.call_later(there / 2, self._arrive, number, work, answer)
        refusal = await answer
        await asyncio.sleep(there / 2)
        if refusal is None:
            self.waits[number] = loop.time() - began
        return refusal

    def _arrive(self, number: int, work: Work, answer: "asyncio.Future[Refusal | None]") -> None:
        self.order.append(number)
        refusal = self.provider.arrive(asyncio.get_running_loop().time() - self.origin, work.tokens)
        if not answer.done():
            answer.set_result(refusal)


async def trial(
    provider: Strict,
    works: Sequence[Work],
    caller: Caller,
    *,
    until: float,
    latency: Callable[[], float] = lambda: 0.0,
    origin: float = 0.0,
    events: Iterable[tuple[float, Callable[[], None]]] = (),
) -> Trial:
    """Let every work's caller come in its time, and cut off at `until` what is not done."""
    result = Trial(provider, caller, latency, origin)
    tasks = [asyncio.create_task(result.happen(*event)) for event in events]
    tasks += [asyncio.create_task(result.come(*numbered)) for numbered in enumerate(works)]
    await asyncio.wait(tasks, timeout=origin + until - asyncio.get_running_loop().time())
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    result.errors = [each for each in done if isinstance(each, Exception)]
    return result


def clairvoyant(
    works: Sequence[Work], until: float, *, rpm: float | None = None, tpm: float | None = None
) -> tuple[int, float]:
    """Calls that a scheduler who knows every weight serves before `until`, in the order of the callers, and when the last."""
    now, last, calls, recent = 0.0, 0.0, 0, deque[tuple[float, int]]()
    for work in works:
        now = max(now, work.at)
        while True:
            while recent and recent[0][0] + 60.0 <= now:
                recent.popleft()
            full = rpm is not None and len(recent) + 1 > rpm
            heavy = tpm is not None and sum(size for _, size in recent) + work.tokens > tpm
            if not (full or heavy):
                break
            now = max(now, recent[0][0] + 60.0)
        if now >= until:
            break
        recent.append((now, work.tokens))
        last, calls = now, calls + 1
    return calls, last


def mixed(count: int, seed: int = 1, *, most: int = 8000) -> list[Work]:
    """Calls as teams make them: short ones, now and then one of `most` tokens; reserved with a tenth too much on average."""
    dice, works = random.Random(seed), list[Work]()
    for number in range(count):
        tokens = most if number % 25 == 7 else dice.randint(200, 1500)
        works.append(Work(0.0, tokens, min(most, int(tokens * dice.uniform(1.0, 1.2)))))
    return works


def bursts(seed: int, until: float) -> list[Work]:
    """Random bursts of up to 20 calls."""
    dice, works, at = random.Random(seed), list[Work](), 0.0
    while at < until:
        works += [Work(at + dice.random()) for _ in range(dice.randint(1, 20))]
        at += dice.expovariate(1 / 70)
    return sorted(works, key=lambda work: work.at)
