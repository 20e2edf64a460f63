"""The queue of each key: its head asks the store, and whoever leaves wakes the next."""

import asyncio
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeAlias

from aiolimiter import AsyncLimiter

from massgen.errors import MassgenError, QuotaError
from massgen.learning import Learner
from massgen.quota_stores import QuotaStore
from massgen.quota_stores.memory import Memory
from massgen.quotas import Blocked, Feedback, Limits, Profile, Quota, Weights

POLL = 1.0
"""Seconds between two questions to a store that other processes use too."""
PATIENCE = 60.0
"""Seconds after which a wait is thought over in any case: a limit may have been changed, or the wall's clock set."""
APART = 1.005
"""How much further apart than even calls are paced: those that come a hair too close are refused."""
FAVOUR = 3
"""Priorities beyond this, up or down, are no better or worse."""

Step: TypeAlias = Coroutine[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Wait:
    """A call waits because `used` of `limit` is used: for `seconds`, so far as is known; once `over`, for that long."""

    provider: str
    model: str
    dimension: str
    seconds: float
    used: float
    limit: float
    over: bool = False


class Books:
    """The store, what tells its time and who is told; what needs no answer is written behind, in order."""

    def __init__(
        self,
        store: QuotaStore | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        waited: Callable[[Wait], None] = lambda wait: None,
        told: Callable[[str], None] = lambda lesson: None,
    ) -> None:
        self.store = store or Memory(clock, wall)
        self.at_once = isinstance(self.store, Memory)
        self.clock, self.wall, self.waited, self.told = clock, wall, waited, told
        self._outbox: deque[tuple[Gate, Step]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Write what is not written yet, and close the store."""
        if self._writer:
            await self._writer
        await self.store.aclose()

    def write(self, gate: "Gate", step: Step) -> None:
        """Do `step` now where that takes no waiting, else soon, in order."""
        if self.at_once:
            with suppress(StopIteration):
                step.send(None)
            return
        self._outbox.append((gate, step))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        while self._outbox:
            gate, step = self._outbox.popleft()
            try:
                await step
            except MassgenError as error:
                self.told(str(error))
            gate.wake()


class _Waiter:
    """A call in the queue; lower ranks go first."""

    __slots__ = ("began", "rank", "woken")

    def __init__(self, rank: tuple[float, int], began: float) -> None:
        self.rank, self.began = rank, began
        self.woken: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.woken and not self.woken.done():
            self.woken.set_result(None)


def _rank(waiter: _Waiter) -> tuple[float, int]:
    return waiter.rank


class Gate:
    """The queue of one key."""

    def __init__(self, books: Books, provider: str, model: str, scope: str, profile: Profile) -> None:
        self.books, self.profile = books, profile
        self.key = f"{provider}/{model}" + (f"#{scope}" if scope else "")
        self._provider, self._model = provider, model
        self._learner = Learner(lambda lesson: books.told(f"{provider}/{model}: {lesson}"))
        self._queue: list[_Waiter] = []
        self._numbers = count()
        self._blocked: Blocked | None = None
        self._pacer: AsyncLimiter | None = None

    @property
    def limits(self) -> Limits:
        """What to keep to now."""
        return self._learner.limits(self.profile.limits, self.books.clock())

    async def admit(self, weights: Weights, priority: int) -> str:
        """A ticket, as soon as the limits and the pace allow."""
        try:
            ticket = await self._ticket(weights, priority)
        except QuotaError as error:
            raise QuotaError(error.what, where=f"{self._provider}/{self._model}", fix=error.fix) from None
        if self.profile.pacing and (rpm := self.limits.rpm):
            await self._pace(ticket, APART * self.profile.limits.minute_seconds / rpm)
        return ticket

    def acked(self, ticket: str, feedback: Feedback | None) -> None:
        self._learner.succeeded(self.books.clock())
        if feedback:
            self._learner.learn(feedback, self.profile.limits)
        self.books.write(self, self.books.store.acked(self.key, ticket))
        if self._blocked and self._blocked.wait is None:
            self.wake()

    def rejected(self, feedback: Feedback) -> None:
        books = self.books
        hold = self._learner.refused(feedback, self.profile.limits, books.clock(), books.wall())
        if hold > 0:
            books.write(self, books.store.hold(self.key, hold, feedback.quota or "hold"))

    def wake(self) -> None:
        """Let the head ask again."""
        if self._queue:
            self._queue[0].wake()

    async def _ticket(self, weights: Weights, priority: int) -> str:
        books = self.books
        if books.at_once and not self._queue:
            answer = await books.store.reserve(self.key, self.limits, weights)
            if isinstance(answer, str):
                return answer
            self._blocked = answer
        Quota(self.limits).check(weights, 0.0, books.wall())
        now, favour = books.clock(), max(-FAVOUR, min(FAVOUR, priority))
        waiter = _Waiter((now - favour * self.profile.limits.minute_seconds, next(self._numbers)), now)
        insort(self._queue, waiter, key=_rank)
        try:
            return await self._wait(waiter, weights)
        finally:
            del self._queue[bisect_left(self._queue, waiter.rank, key=_rank)]
            self.wake()

    async def _wait(self, waiter: _Waiter, weights: Weights) -> str:
        """Until the head's question is answered by a ticket."""
        said: Wait | None = None
        try:
            while True:
                pause = None
                if self._queue[0] is waiter:
                    answer = await self._ask(weights)
                    if isinstance(answer, str):
                        return answer
                    self._blocked, pause = answer, _pause(answer, at_once=self.books.at_once)
                if self._blocked and said is None:
                    said = self._say(self._blocked)
                await _sleep(waiter, pause)
        finally:
            if said:
                self.books.waited(replace(said, seconds=self.books.clock() - waiter.began, over=True))

    def _say(self, why: Blocked) -> Wait:
        wait = Wait(self._provider, self._model, why.dimension, why.wait or 0.0, why.used, why.limit)
        self.books.waited(wait)
        return wait

    async def _ask(self, weights: Weights) -> str | Blocked:
        """The store's answer; a ticket that comes after we were cancelled is given back."""
        store = self.books.store
        if self.books.at_once:
            return await store.reserve(self.key, self.limits, weights)
        asked = asyncio.ensure_future(store.reserve(self.key, self.limits, weights))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(self._return)
            raise

    def _return(self, asked: "asyncio.Future[str | Blocked]") -> None:
        if not asked.cancelled() and not asked.exception() and isinstance(ticket := asked.result(), str):
            self.books.write(self, self.books.store.release(self.key, ticket))

    async def _pace(self, ticket: str, seconds: float) -> None:
        """Calls are sent `seconds` apart."""
        if self._pacer is None or self._pacer.time_period != seconds:
            self._pacer = AsyncLimiter(1, seconds)
        try:
            await self._pacer.acquire()
        except asyncio.CancelledError:
            self.books.write(self, self.books.store.release(self.key, ticket))
            self.wake()
            raise


def _pause(blocked: Blocked, *, at_once: bool) -> float:
    """Seconds until the head asks again by itself; never none at all, lest rounding makes it ask without end."""
    longest = PATIENCE if at_once else POLL
    return longest if blocked.wait is None else min(longest, max(blocked.wait, 0.001))


async def _sleep(waiter: _Waiter, seconds: float | None) -> None:
    """Until woken, or for `seconds`."""
    loop = asyncio.get_running_loop()
    waiter.woken = loop.create_future()
    timer = loop.call_later(seconds, waiter.wake) if seconds is not None else None
    try:
        await waiter.woken
    finally:
        if timer:
            timer.cancel()
