"""Quotas in this process."""

import time
from collections.abc import Callable, Mapping
from itertools import count

from massgen.limiter.quotas import Blocked, Call, Limits, Quota, Weights


class Memory:
    """What the calls of this process have used; `clock` is monotonic, `wall` epoch seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock, self._wall = clock, wall
        self._quotas: dict[str, Quota] = {}
        self._calls: dict[str, Call] = {}
        self._tickets = count()

    async def reserve(self, key: str, limits: Limits, weights: Weights) -> str | Blocked:
        result = self._quota(key, limits).reserve(weights, self._clock(), self._wall())
        if isinstance(result, Blocked):
            return result
        ticket = str(next(self._tickets))
        self._calls[ticket] = result
        return ticket

    async def acked(self, key: str, ticket: str) -> None:
        if call := self._calls.get(ticket):
            self._quotas[key].acked(call, self._clock(), self._wall())

    async def finish(self, key: str, ticket: str, actual: Weights | None) -> None:
        if call := self._calls.pop(ticket, None):
            self._quotas[key].finish(call, actual, self._clock(), self._wall())

    async def release(self, key: str, ticket: str) -> None:
        if call := self._calls.pop(ticket, None):
            self._quotas[key].release(call, self._clock(), self._wall())

    async def hold(self, key: str, seconds: float, dimension: str) -> None:
        self.quota(key).hold(seconds, self._clock(), dimension)

    async def use(self, key: str, limits: Limits) -> Mapping[str, tuple[float, float]]:
        return self._quota(key, limits).use(self._clock(), self._wall())

    async def aclose(self) -> None:
        """Nothing is held."""

    def quota(self, key: str) -> Quota:
        """Made where it is not there yet, without limits."""
        quota = self._quotas.get(key)
        if quota is None:
            quota = self._quotas[key] = Quota(Limits())
        return quota

    def _quota(self, key: str, limits: Limits) -> Quota:
        quota = self.quota(key)
        if limits is not quota.limits and limits != quota.limits:
            quota.limits = limits
        return quota
