"""Who counts the calls of one key: this process, at once, or a store that others use too."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from massgen.errors import MassgenError
from massgen.limiter.quotas import Blocked, Call, Limits, Quota, Weights
from massgen.limiter.stores import QuotaStore

T = TypeVar("T")
Step: TypeAlias = Callable[[], Awaitable[None]]


class Book(Protocol[T]):
    """The quota of one key, whose calls go by tickets of type T. What has no answer is done at once, or soon and in order."""

    poll: float
    """Seconds after which to ask again in any case."""

    def take(self, weights: Weights, limits: Limits) -> T | Blocked | None:
        """A ticket, or why not now; None where that must be asked."""
        ...

    async def ask(self, weights: Weights, limits: Limits) -> T | Blocked: ...

    def check(self, weights: Weights, limits: Limits) -> None:
        """Raises `QuotaError` where the call can never be sent."""
        ...

    def acked(self, ticket: T) -> None: ...

    def finish(self, ticket: T, actual: Weights | None) -> None: ...

    def release(self, ticket: T) -> None: ...

    def hold(self, seconds: float, dimension: str) -> None: ...

    async def use(self, limits: Limits) -> Mapping[str, tuple[float, float]]: ...


class Here:
    """A quota of this process."""

    poll = 60.0
    """A limit may have been changed, or the wall's clock set."""

    def __init__(self, quota: Quota, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._quota, self._clock, self._wall = quota, clock, wall

    def take(self, weights: Weights, limits: Limits) -> Call | Blocked:
        quota = self._quota
        if limits is not quota.limits:
            self._keep(limits)
        return quota.reserve(weights, self._clock(), self._wall())

    async def ask(self, weights: Weights, limits: Limits) -> Call | Blocked:
        return self.take(weights, limits)

    def check(self, weights: Weights, limits: Limits) -> None:
        self._keep(limits)
        self._quota.check(weights, self._clock(), self._wall())

    def acked(self, ticket: Call) -> None:
        self._quota.acked(ticket, self._clock(), self._wall())

    def finish(self, ticket: Call, actual: Weights | None) -> None:
        self._quota.finish(ticket, actual, self._clock(), self._wall())

    def release(self, ticket: Call) -> None:
        self._quota.release(ticket, self._clock(), self._wall())

    def hold(self, seconds: float, dimension: str) -> None:
        self._quota.hold(seconds, self._clock(), dimension)

    async def use(self, limits: Limits) -> Mapping[str, tuple[float, float]]:
        self._keep(limits)
        return self._quota.use(self._clock(), self._wall())

    def _keep(self, limits: Limits) -> None:
        if limits != self._quota.limits:
            self._quota.limits = limits


class Outbox:
    """Steps that need no answer, done one after the other; `told` hears of those that fail."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._steps: deque[tuple[Step, Callable[[], None]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    def put(self, step: Step, done: Callable[[], None]) -> None:
        self._steps.append((step, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def empty(self) -> None:
        if self._writer:
            await self._writer

    async def _write(self) -> None:
        while self._steps:
            step, done = self._steps.popleft()
            try:
                await step()
            except MassgenError as error:
                self._told(str(error))
            done()


class There:
    """The quota of `key` in a store; `wake` is called when a step may have made room."""

    poll = 1.0
    """Other processes make room too."""

    def __init__(self, store: QuotaStore, key: str, outbox: Outbox, wake: Callable[[], None]) -> None:
        self._store, self._key, self._outbox, self._wake = store, key, outbox, wake
        self._empty = Quota(Limits())

    def take(self, weights: Weights, limits: Limits) -> None:
        return None

    async def ask(self, weights: Weights, limits: Limits) -> str | Blocked:
        """A ticket that comes after we were cancelled is given back."""
        asked = asyncio.ensure_future(self._store.reserve(self._key, limits, weights))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(self._give_back)
            raise

    def check(self, weights: Weights, limits: Limits) -> None:
        if limits != self._empty.limits:
            self._empty.limits = limits
        self._empty.check(weights, 0.0, 0.0)

    def acked(self, ticket: str) -> None:
        self._outbox.put(partial(self._store.acked, self._key, ticket), self._wake)

    def finish(self, ticket: str, actual: Weights | None) -> None:
        self._outbox.put(partial(self._store.finish, self._key, ticket, actual), self._wake)

    def release(self, ticket: str) -> None:
        self._outbox.put(partial(self._store.release, self._key, ticket), self._wake)

    def hold(self, seconds: float, dimension: str) -> None:
        self._outbox.put(partial(self._store.hold, self._key, seconds, dimension), self._wake)

    async def use(self, limits: Limits) -> Mapping[str, tuple[float, float]]:
        return await self._store.use(self._key, limits)

    def _give_back(self, asked: "asyncio.Future[str | Blocked]") -> None:
        if not asked.cancelled() and not asked.exception() and isinstance(ticket := asked.result(), str):
            self.release(ticket)
