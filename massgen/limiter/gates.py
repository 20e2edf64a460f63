"""The queue of each key: its head asks whether there is room, and whoever leaves wakes the next."""

import asyncio
import sys
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from math import inf
from typing import Generic, TypeVar

from aiolimiter import AsyncLimiter

from massgen.errors import QuotaError
from massgen.limiter.books import Book
from massgen.limiter.learning import Learner
from massgen.limiter.quotas import Blocked, Feedback, Limits, Profile, Weights

T = TypeVar("T")

steady: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic
)
"""Seconds that also pass while the machine sleeps, where the system counts them: a hold until midnight must end at midnight."""
APART = 1.005
"""How much further apart than even calls are paced: those that come a hair too close are refused."""
FAVOUR = 3
"""Priorities beyond this, up or down, are no better or worse."""
GRACE = 1.0
"""Seconds for which a call whose caller left it may still be on its way to the provider."""
QUOTAS = 20
"""Quotas whose rejections are counted by name; those of more are counted together."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A call waits because `used` of `limit` is used: for `seconds`, so far as is known; once `over`, for that long.

    `dimension`: one of `Limits`, `pacing`, `cooldown`, `hold`, or the provider's name of a quota.
    """

    provider: str
    model: str
    dimension: str
    seconds: float
    used: float
    limit: float
    over: bool = False


@dataclass(slots=True)
class Counts:
    """What a queue has seen; `queued` is now. Tokens are `reserved` and `used` by the calls whose use is known."""

    granted: int = 0
    waited: int = 0
    seconds_waited: float = 0.0
    queued: int = 0
    rejected: dict[str, int] = field(default_factory=dict[str, int])
    """By the provider's name of the quota; empty where it named none."""
    learned: Mapping[str, float] = field(default_factory=dict[str, float])
    """The limits that replies taught, where they differ from the profile's."""
    reserved: int = 0
    used: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """What a queue needs of the world: a monotonic `clock`, a `wall` of epoch seconds, and who is told."""

    clock: Callable[[], float] = steady
    wall: Callable[[], float] = time.time
    waited: Callable[[Wait], None] = lambda wait: None
    told: Callable[[str], None] = lambda lesson: None

    @contextmanager
    def waiting(self, wait: Wait) -> Generator[None]:
        """Tell of `wait` now, and when it is over."""
        began = self.clock()
        self.waited(wait)
        try:
            yield
        finally:
            self.waited(replace(wait, seconds=self.clock() - began, over=True))


class _Waiter:
    """A call in the queue; lower ranks go first."""

    __slots__ = ("_again", "_woken", "rank", "told")

    def __init__(self, rank: tuple[float, int]) -> None:
        self.rank, self.told = rank, False
        self._woken: asyncio.Future[None] | None = None
        self._again = False

    def wake(self) -> None:
        """Ask again: now, or where an answer is on its way, after that."""
        self._again = True
        if self._woken and not self._woken.done():
            self._woken.set_result(None)

    async def sleep(self, seconds: float | None) -> None:
        """Until woken, or for `seconds`."""
        if not self._again:
            loop = asyncio.get_running_loop()
            self._woken = loop.create_future()
            timer = loop.call_later(seconds, self.wake) if seconds is not None else None
            try:
                await self._woken
            finally:
                if timer:
                    timer.cancel()
        self._again = False


def _rank(waiter: _Waiter) -> tuple[float, int]:
    return waiter.rank


class Gate(Generic[T]):
    """The queue of one key, whose profile `find` looks up anew for those who wait."""

    def __init__(
        self, names: tuple[str, str], profile: Profile, find: Callable[[], Profile | None], context: Context
    ) -> None:
        self.profile, self._find, self._context = profile, find, context
        self._provider, self._model = names
        self._learner = Learner(
            lambda lesson: context.told(f"{names[0]}/{names[1]}: {lesson}"), lambda name: name in self.profile.own
        )
        self._clock, self._succeeded = context.clock, self._learner.succeeded
        self._queue: list[_Waiter] = []
        self._numbers = count()
        self._blocked: Blocked | None = None
        self._pacer: AsyncLimiter | None = None
        self._cut: dict[T, asyncio.TimerHandle] = {}
        self._counts = Counts()
        self.book: Book[T]

    @property
    def dialect(self) -> str:
        return self.profile.dialect or self._provider

    def limits(self, weights: Weights) -> Limits:
        """What a call of `weights` must keep to now."""
        if self._learner.idle:
            return self.profile.limits
        return self._learner.limits(self.profile.limits, weights, self._clock())

    def counts(self) -> Counts:
        return replace(self._counts, queued=len(self._queue), learned=self._learner.lessons(self.profile.limits))

    def change(self, profile: Profile) -> None:
        """Keep to `profile` from now on, also who waits."""
        self.profile = profile
        self.wake()

    def wake(self) -> None:
        """Let the head ask again."""
        if self._queue:
            self._queue[0].wake()

    def enter(self, weights: Weights) -> T | None:
        """A ticket, where there is room and nobody waits."""
        if self._queue:
            return None
        try:
            answer = self.book.take(weights, self.profile.limits if self._learner.idle else self.limits(weights))
        except QuotaError as error:
            raise self._placed(error) from None
        if isinstance(answer, Blocked):
            self._blocked = answer
            return None
        if answer is not None:
            self._counts.granted += 1
        return answer

    async def queue(self, weights: Weights, priority: int) -> T:
        """A ticket, as soon as there is room."""
        now, favour = self._clock(), max(-FAVOUR, min(FAVOUR, priority))
        waiter = _Waiter((now - favour * self.profile.limits.minute_seconds, next(self._numbers)))
        try:
            self.book.check(weights, self.limits(weights))
            insort(self._queue, waiter, key=_rank)
            try:
                ticket = await self._wait(waiter, weights)
            finally:
                del self._queue[bisect_left(self._queue, waiter.rank, key=_rank)]
                self.wake()
        except QuotaError as error:
            raise self._placed(error) from None
        self._blocked = None
        self._counts.granted += 1
        return ticket

    async def pace(self, ticket: T, weights: Weights) -> None:
        """Wait until the call may be sent: a minute's calls are sent evenly apart. If cancelled, it is given back."""
        if (rpm := self.limits(weights).rpm) is None or rpm == inf:
            return
        seconds = APART * self.profile.limits.minute_seconds / rpm
        if self._pacer is None or self._pacer.time_period != seconds:
            self._pacer = AsyncLimiter(1, seconds)
        try:
            with nullcontext() if self._pacer.has_capacity() else self._waiting("pacing", seconds, 1, 1):
                await self._pacer.acquire()
        except BaseException:  # cancelled, or whoever was told of the wait does not want it
            self.release(ticket)
            raise

    def acked(self, ticket: T, feedback: Feedback | None) -> None:
        self._succeeded(self._clock())
        if feedback:
            self._learner.learn(feedback, self.profile.limits)
        self.book.acked(ticket)
        if self._blocked and self._blocked.wait is None:
            self.wake()

    def finish(self, ticket: T, reserved: Weights, actual: Weights | None, *, acked: bool) -> None:
        if actual is not None:
            if not acked:
                self._succeeded(self._clock())
            self._counts.reserved += reserved.input + reserved.output
            self._counts.used += actual.input + actual.output
        self.book.finish(ticket, actual)
        if self._queue:
            self._queue[0].wake()

    def release(self, ticket: T) -> None:
        self.book.release(ticket)
        self.wake()

    def rejected(self, ticket: T, feedback: Feedback) -> None:
        """The provider has refused the call."""
        name = feedback.quota if feedback.quota in self._counts.rejected else ""
        name = name or (feedback.quota if len(self._counts.rejected) < QUOTAS else "others")
        self._counts.rejected[name] = self._counts.rejected.get(name, 0) + 1
        context = self._context
        hold = self._learner.refused(feedback, self.profile.limits, context.clock(), context.wall())
        if hold > 0:
            self.book.hold(hold, feedback.quota or "hold")
        if self.profile.failed_calls_count:
            self.book.finish(ticket, Weights())
        else:
            self.book.release(ticket)
        self.wake()

    def cut(self, ticket: T) -> None:
        """The call was left before an answer came: it counts from when it must have arrived."""
        self._cut[ticket] = asyncio.get_running_loop().call_later(GRACE, self._arrived, ticket)

    def close(self) -> None:
        for ticket, timer in list(self._cut.items()):
            timer.cancel()
            self._arrived(ticket)

    def _arrived(self, ticket: T) -> None:
        del self._cut[ticket]
        self.book.finish(ticket, None)
        self.wake()

    async def _wait(self, waiter: _Waiter, weights: Weights) -> T:
        """Until the head's question is answered by a ticket."""
        with ExitStack() as waiting:
            while True:
                pause = None
                if self._queue[0] is waiter:
                    answer = await self.book.ask(weights, self.limits(weights))
                    if not isinstance(answer, Blocked):
                        return answer
                    self._blocked, pause = answer, self._pause(answer)
                if (why := self._blocked) and not waiter.told:
                    waiter.told = True
                    waiting.enter_context(self._waiting(why.dimension, why.wait or 0.0, why.used, why.limit))
                await waiter.sleep(pause)
                self.profile = self._find() or Profile()

    def _pause(self, blocked: Blocked) -> float:
        """Seconds until the head asks again by itself; never none at all, lest rounding makes it ask without end."""
        longest = self.book.poll
        return longest if blocked.wait is None else min(longest, max(blocked.wait, 0.001))

    @contextmanager
    def _waiting(self, dimension: str, seconds: float, used: float, limit: float) -> Generator[None]:
        began = self._clock()
        try:
            with self._context.waiting(Wait(self._provider, self._model, dimension, seconds, used, limit)):
                yield
        finally:
            self._counts.waited += 1
            self._counts.seconds_waited += self._clock() - began

    def _placed(self, error: QuotaError) -> QuotaError:
        return QuotaError(error.what, where=f"{self._provider}/{self._model}", fix=error.fix)
