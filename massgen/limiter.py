"""Sends each model call when its limits allow, and not before: a queue for every key, over a store of what is used.

The queue is first come, first served: a call that fits never passes a larger one that came before. A priority is worth a
window of waiting, so a call of a lower one waits a few windows at most.
"""

import time
from collections.abc import Callable, Mapping
from typing import Self

from aiolimiter import AsyncLimiter

from massgen.errors import BackendError
from massgen.gates import Books, Gate, Wait
from massgen.messages import Usage
from massgen.quota_stores import QuotaStore
from massgen.quotas import Feedback, Profile, Weights

__all__ = ["Limiter", "Slot", "Wait"]


class Limiter:
    """The queues of one event loop.

    `profiles` is asked at each call, so changed limits apply at the next. `clock` is monotonic, `wall` epoch seconds.
    `waited` is called when a wait begins and when it is over, `told` with each lesson that a provider's reply taught.
    """

    def __init__(
        self,
        profiles: Callable[[str, str], Profile | None],
        *,
        store: QuotaStore | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        waited: Callable[[Wait], None] = lambda wait: None,
        told: Callable[[str], None] = lambda lesson: None,
    ) -> None:
        self._profiles, self._books = profiles, Books(store, clock, wall, waited, told)
        self._gates: dict[tuple[str, str, str], Gate] = {}
        self._starts: dict[tuple[str, str], AsyncLimiter] = {}

    def slot(
        self, provider: str, model: str, *, estimate: Weights | Usage, priority: int = 0, scope: str = ""
    ) -> "Slot":
        """Room for one call, to be entered with `async with`: waits until there is some.

        `estimate` is the most it may weigh; a higher `priority` goes first; calls of one `scope` share the quota.
        Entering raises `QuotaError` where the call can never be sent.
        """
        profile = self._profiles(provider, model)
        if profile is None:
            return Slot(None, Weights(), priority)
        key = (provider, model, scope)
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(self._books, provider, model, scope, profile)
        gate.profile = profile
        return Slot(gate, _weights(estimate), priority)

    async def start(self, provider: str, model: str) -> None:
        """Wait until an agent on `model` may start: agents start `cooldown` seconds apart; who runs is not held up."""
        profile = self._profiles(provider, model)
        if profile is None or profile.cooldown <= 0:
            return
        key = (provider, model)
        if key not in self._starts or self._starts[key].time_period != profile.cooldown:
            self._starts[key] = AsyncLimiter(1, profile.cooldown)
        await self._starts[key].acquire()

    async def aclose(self) -> None:
        """Write what is not written yet, and close the store."""
        await self._books.aclose()


class Slot:
    """Room for one call. Say `acked` when the response's headers are there, and `finish` at the end.

    A block that is left before `finish`, by an error or cancelled, leaves the call counted: it may have been sent. Say
    `release` where it was not.
    """

    __slots__ = ("_gate", "_priority", "_ticket", "_weights")

    def __init__(self, gate: "Gate | None", weights: Weights, priority: int) -> None:
        self._gate, self._weights, self._priority = gate, weights, priority
        self._ticket = ""

    async def __aenter__(self) -> Self:
        if self._gate:
            self._ticket = await self._gate.admit(self._weights, self._priority)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.finish(None)

    def acked(self, feedback: Feedback | None = None) -> None:
        """The provider took the call; `feedback` is what its headers say of limits."""
        if self._gate and self._ticket:
            self._gate.acked(self._ticket, feedback)

    def finish(self, actual: Weights | Usage | None) -> None:
        """The call is over and weighed `actual`; None: unknown, the estimate stays."""
        self._end("finish", _weights(actual) if actual is not None else None)

    def release(self) -> None:
        """The call was never sent: all is given back."""
        self._end("release")

    def rejected(self, reply: Feedback | BackendError | Mapping[str, str]) -> None:
        """The provider refused the call for its limits (HTTP 429), in a `reply` whose headers may be all that is known."""
        if self._gate and self._ticket:
            self._gate.rejected(_feedback(reply))
            counts = self._gate.profile.failed_calls_count
            self._end("finish", Weights()) if counts else self._end("release")

    def _end(self, verb: str, *actual: Weights | None) -> None:
        ticket, self._ticket = self._ticket, ""
        if ticket and (gate := self._gate):
            gate.books.write(gate, getattr(gate.books.store, verb)(gate.key, ticket, *actual))
            gate.wake()


def _feedback(reply: Feedback | BackendError | Mapping[str, str]) -> Feedback:
    match reply:
        case Feedback():
            return reply
        case BackendError():
            return Feedback(retry_after=reply.retry_after)
        case _:
            return Feedback()


def _weights(amount: Weights | Usage) -> Weights:
    if isinstance(amount, Weights):
        return amount
    return Weights(amount.input_tokens, amount.output_tokens, amount.cost or 0.0)
