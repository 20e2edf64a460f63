"""What the shared stores have in common: their rules as data, and how a process goes on alone while its store is away."""

import asyncio
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Literal, Protocol, TypeAlias

from massgen.limiter.quotas import Blocked, Dimension, Limits, Quota, Weights, vector
from massgen.limiter.stores.memory import Memory
from massgen.limiter.windows import INPUT, NANO, OUTPUT, REQUESTS, TOTAL, Vector

Meters: TypeAlias = Literal["running", "minute", "day", "spend"]
Verb: TypeAlias = Literal["reserve", "count", "acked", "finish", "release", "hold", "use"]
Answer: TypeAlias = Blocked | Mapping[str, tuple[float, float]] | None
Tell: TypeAlias = Callable[[str], None]

LEASE = 5.0
"""Seconds without a sign of life after which a process's calls under way count as acknowledged."""
SEEN = 60.0
"""Seconds for which a process that was seen counts as one that shares the limits."""
TURN = 1.5
"""Seconds for which a process that waits keeps its turn without asking again; the queue's head asks every second."""
RETRY, LONGEST = 1.0, 30.0
"""Seconds between attempts to reach a store that is away: at first, and at most."""
YEARS = 1e8
"""Seconds that nobody is held longer, whatever a provider says."""
DEBTS = 10_000
"""Steps that a store which was away is told afterwards; of more, the oldest are forgotten."""


def ignore(message: str) -> None:
    """Nobody wants to be told."""


def add(one: Vector, other: Vector) -> Vector:
    a, b, c, d, e = one
    v, w, x, y, z = other
    return (a + v, b + w, c + x, d + y, e + z)


def longer(one: Blocked | None, other: Blocked) -> Blocked:
    """Whichever makes a call wait longer."""
    if one is None or (one.wait is not None and (other.wait is None or other.wait > one.wait)):
        return other
    return one


def soon(limits: Limits) -> float:
    """Seconds until it is worth asking again whether another process's call has moved."""
    return min(0.25, limits.minute_seconds / 40)


class Away(Exception):
    """The store cannot be used now: why, in words for the user."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit in the units of a vector's `column`; cost in billionths of a dollar."""

    dimension: Dimension
    limit: float
    meter: Meters
    column: int

    @property
    def scale(self) -> float:
        return 1e9 if self.column == NANO else 1


@lru_cache(maxsize=256)
def rules(limits: Limits) -> tuple[Rule, ...]:
    tokens = INPUT if limits.counts == "input" else TOTAL
    every: tuple[tuple[Dimension, float | None, Meters, int], ...] = (
        ("concurrency", limits.concurrency, "running", REQUESTS),
        ("rpm", limits.rpm, "minute", REQUESTS),
        ("tpm", limits.tpm, "minute", tokens),
        ("itpm", limits.itpm, "minute", INPUT),
        ("otpm", limits.otpm, "minute", OUTPUT),
        ("rpd", limits.rpd, "day", REQUESTS),
        ("tpd", limits.tpd, "day", tokens),
        ("cost", limits.cost if limits.cost is None else limits.cost * 1e9, "spend", NANO),
    )
    return tuple(Rule(name, limit, meter, column) for name, limit, meter, column in every if limit is not None)


def share(limits: Limits, sharers: int, weights: Weights) -> Limits:
    """What one of `sharers` may use. A call that fits the whole limit fits the share: it is then the only one."""
    heavy = vector(weights)
    parts = {
        rule.dimension: min(rule.limit, max(rule.limit / sharers, heavy[rule.column])) / rule.scale
        for rule in rules(limits)
    }
    return replace(limits, **parts)


@lru_cache(maxsize=256)
def _boundless(limits: Limits) -> Limits:
    """The same windows and days, without their limits."""
    return replace(limits, **{rule.dimension: math.inf for rule in rules(limits)})


@lru_cache(maxsize=256)
def _empty(limits: Limits) -> Quota:
    return Quota(limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a ledger is told or asked. `count` is a `reserve` that is not asked, because the call was made already."""

    verb: Verb
    key: str
    limits: Limits
    ticket: str = ""
    vector: Vector | None = None
    at: float = 0.0
    """When it happened, by the process's own clock."""
    seconds: float = 0.0
    dimension: str = ""


class Ledger(Protocol):
    """The books that processes share. Each method raises `Away` where they cannot be reached."""

    @property
    def where(self) -> str:
        """What and where it is, without secrets."""
        ...

    @property
    def sharers(self) -> int:
        """How many processes were seen to use it lately, this one included."""
        ...

    async def open(self) -> None: ...

    async def do(self, step: Step, ago: float) -> Answer:
        """`ago`: how many seconds ago the step happened. A reserve is answered with None where it is granted."""
        ...

    async def close(self) -> None: ...


class Shared:
    """A `QuotaStore` over a ledger. This process's calls are counted here as well: while the ledger is away, they keep to a
    fair share of the limits, and the ledger is told of them when it is back. `told` is called once for each of both."""

    def __init__(
        self,
        ledger: Callable[[str], Ledger],
        told: Tell,
        retry: float = RETRY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._numbers = secrets.token_hex(8), count()
        self._ledger, self._told, self._clock = ledger(self._name), told, clock
        self._local, self._lock = Memory(clock), asyncio.Lock()
        self._limits: dict[str, Limits] = {}
        self._calls: dict[str, str] = {}
        self._debts: deque[Step] = deque(maxlen=DEBTS)
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._up, self._said = False, False
        self._retry, self._pause, self._first_pause = -math.inf, retry, retry

    async def reserve(self, key: str, limits: Limits, weights: Weights) -> str | Blocked:
        _empty(limits).check(weights, 0.0, 0.0)
        self._limits[key] = limits
        step = self._step("reserve", key, f"{self._name}-{next(self._numbers)}", vector(weights))
        asked = self._start(step)
        try:
            answer = await asyncio.shield(asked)
        except Away:
            return await self._alone(step, weights)
        except asyncio.CancelledError:
            asked.add_done_callback(lambda _: self._start(replace(step, verb="release")))
            raise
        if isinstance(answer, Blocked):
            return answer
        local = await self._local.reserve(key, _boundless(limits), weights)
        self._calls[step.ticket] = local if isinstance(local, str) else ""
        return step.ticket

    async def _alone(self, step: Step, weights: Weights) -> str | Blocked:
        """The answer without the ledger, which may or may not have granted the call before it went away."""
        mine = share(step.limits, max(1, self._ledger.sharers), weights)
        local = await self._local.reserve(step.key, mine, weights)
        self._debts.append(replace(step, verb="release" if isinstance(local, Blocked) else "count"))
        if isinstance(local, Blocked):
            return local
        self._calls[step.ticket] = local
        return step.ticket

    async def acked(self, key: str, ticket: str) -> None:
        if ticket in self._calls:
            await self._local.acked(key, self._calls[ticket])
            await self._tell(self._step("acked", key, ticket))

    async def finish(self, key: str, ticket: str, actual: Weights | None) -> None:
        if ticket in self._calls:
            await self._local.finish(key, self._calls.pop(ticket), actual)
            await self._tell(self._step("finish", key, ticket, None if actual is None else vector(actual)))

    async def release(self, key: str, ticket: str) -> None:
        if ticket in self._calls:
            await self._local.release(key, self._calls.pop(ticket))
            await self._tell(self._step("release", key, ticket))

    async def hold(self, key: str, seconds: float, dimension: str) -> None:
        seconds = min(seconds, YEARS)
        await self._local.hold(key, seconds, dimension)
        await self._tell(replace(self._step("hold", key), seconds=seconds, dimension=dimension))

    async def use(self, key: str, limits: Limits) -> Mapping[str, tuple[float, float]]:
        try:
            answer = await asyncio.shield(self._start(Step(verb="use", key=key, limits=limits, at=self._clock())))
        except Away:
            return await self._local.use(key, limits)
        assert isinstance(answer, Mapping)
        return answer

    async def aclose(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._up = False
        await self._ledger.close()

    def _step(self, verb: Verb, key: str, ticket: str = "", heavy: Vector | None = None) -> Step:
        limits = self._limits.get(key, Limits())
        return Step(verb=verb, key=key, limits=limits, ticket=ticket, vector=heavy, at=self._clock())

    async def _tell(self, step: Step) -> None:
        with suppress(Away):
            await asyncio.shield(self._start(step))

    def _start(self, step: Step) -> "asyncio.Task[Answer]":
        """A step that was begun is carried out, whoever is cancelled: what is told is owed until the ledger knows it."""
        task = asyncio.get_running_loop().create_task(self._do(step))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Answer]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def _do(self, step: Step) -> Answer:
        try:
            if self._debts or not self._up:
                await self._reach()
            return await self._ledger.do(step, self._clock() - step.at)
        except Away as why:
            self._lost(why)
            if step.verb not in ("reserve", "use"):
                self._debts.append(step)
            raise

    async def _reach(self) -> None:
        """Open the ledger, at most once in a while, and tell it what it missed."""
        async with self._lock:
            if not self._up:
                if self._clock() < self._retry:
                    raise Away
                await self._ledger.open()
            while self._debts:
                step = self._debts.popleft()
                try:
                    await self._ledger.do(step, self._clock() - step.at)
                except Away:
                    self._debts.appendleft(step)
                    raise
            self._up, self._pause = True, self._first_pause
        if self._said:
            self._said = False
            self._told(f"rate limits are shared again: {self._ledger.where} is back")

    def _lost(self, why: Away) -> None:
        now, self._up = self._clock(), False
        if now < self._retry:
            return
        self._retry, self._pause = now + self._pause, min(2 * self._pause, LONGEST)
        if not self._said:
            self._said = True
            sharers = max(1, self._ledger.sharers)
            part = "counted in this process alone" if sharers == 1 else f"kept to a share, 1/{sharers} for this process"
            self._told(f"{self._ledger.where}: {str(why).rstrip('.')}; until it is back, rate limits are {part}")
