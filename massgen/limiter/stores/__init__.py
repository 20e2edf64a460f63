"""Where it is kept what calls have used: in this process, on this machine, or for several hosts."""

from collections.abc import Mapping
from typing import Protocol

from massgen.limiter.quotas import Blocked, Limits, Weights


class QuotaStore(Protocol):
    """The quotas of many keys. Grants are atomic over all dimensions; unknown tickets are ignored."""

    async def reserve(self, key: str, limits: Limits, weights: Weights) -> str | Blocked:
        """A ticket for one call, or why not now. Raises `QuotaError` where the call can never fit."""
        ...

    async def acked(self, key: str, ticket: str) -> None:
        """The provider has answered: the call leaves its windows one window from now."""
        ...

    async def finish(self, key: str, ticket: str, actual: Weights | None) -> None:
        """The call is over and weighed `actual`; None: what was reserved."""
        ...

    async def release(self, key: str, ticket: str) -> None:
        """The call was never sent: all is given back."""
        ...

    async def hold(self, key: str, seconds: float, dimension: str) -> None:
        """No grant for `seconds`, nor before an earlier hold's end."""
        ...

    async def use(self, key: str, limits: Limits) -> Mapping[str, tuple[float, float]]:
        """What is used of each limit, and the limit."""
        ...

    async def aclose(self) -> None:
        """Release what the store holds. Harmless when called twice."""
        ...
