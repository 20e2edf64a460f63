"""Sends each model call when its limits allow, and not before: a queue for every key, over a store of what is used.

The queue is first come, first served: a call that fits never passes a larger one that came before. A priority is worth a
window of waiting, so a call of a lower one waits a few windows at most.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

from aiolimiter import AsyncLimiter

from massgen.errors import BackendError, HttpReply
from massgen.limiter.books import Here, Outbox, There
from massgen.limiter.feedback import learned
from massgen.limiter.gates import Context, Counts, Gate, Wait, steady
from massgen.limiter.quotas import Call, Feedback, Limits, Profile, Weights
from massgen.limiter.stores import QuotaStore
from massgen.limiter.stores.memory import Memory
from massgen.messages import Usage

__all__ = ["Counts", "Limiter", "Limits", "Profile", "Slot", "Wait", "Weights"]

_NOTHING = Weights()
Reply: TypeAlias = Feedback | BackendError | Mapping[str, str]
"""What is known of a provider's reply: what was read from it, the error it became, or its headers."""


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
        clock: Callable[[], float] = steady,
        wall: Callable[[], float] = time.time,
        waited: Callable[[Wait], None] = lambda wait: None,
        told: Callable[[str], None] = lambda lesson: None,
    ) -> None:
        self._find, self._store = profiles, store or Memory(clock, wall)
        self._context, self._outbox = Context(clock, wall, waited, told), Outbox(told)
        self._gates: dict[tuple[str, str, str], Gate[Any]] = {}
        self._starts: dict[tuple[str, str], AsyncLimiter] = {}

    def slot(
        self, provider: str, model: str, *, estimate: Weights | Usage, priority: int = 0, scope: str = ""
    ) -> "Slot":
        """Room for one call, to be entered with `async with`: waits until there is some.

        `estimate` is the most it may weigh; a higher `priority` goes first; calls of one `scope` share the quota.
        Entering raises `QuotaError` where the call can never be sent.
        """
        profile = self._find(provider, model)
        if profile is None:
            return Slot(None, _NOTHING, priority)
        gate = self._gates.get((provider, model, scope))
        if gate is None:
            gate = self._gates[provider, model, scope] = self._gate(provider, model, scope, profile)
        elif profile is not gate.profile:
            gate.change(profile)
        return Slot(gate, estimate if isinstance(estimate, Weights) else _weights(estimate), priority)

    async def start(self, provider: str, model: str) -> None:
        """Wait until an agent on `model` may start: agents start `cooldown` seconds apart; who runs is not held up."""
        profile = self._find(provider, model)
        if profile is None or profile.cooldown <= 0:
            return
        starts = self._starts.get((provider, model))
        if starts is None or starts.time_period != profile.cooldown:
            starts = self._starts[provider, model] = AsyncLimiter(1, profile.cooldown)
        wait = Wait(provider, model, "cooldown", profile.cooldown, 1, 1)
        with nullcontext() if starts.has_capacity() else self._context.waiting(wait):
            await starts.acquire()

    def counts(self) -> Mapping[str, Counts]:
        """By `provider/model`, with `#scope` where there is one: what happened so far."""
        return {_key(*names): gate.counts() for names, gate in self._gates.items()}

    async def use(self) -> Mapping[str, Mapping[str, tuple[float, float]]]:
        """By key as in `counts`, then by dimension: what is used now, and the limit."""
        return {_key(*names): await gate.book.use(gate.limits(_NOTHING)) for names, gate in self._gates.items()}

    async def aclose(self) -> None:
        """Write what is not written yet, and close the store."""
        for gate in self._gates.values():
            gate.close()
        await self._outbox.empty()
        await self._store.aclose()

    def _gate(self, provider: str, model: str, scope: str, profile: Profile) -> Gate[Any]:
        key, context = _key(provider, model, scope), self._context
        gate: Gate[Any] = Gate((provider, model), profile, partial(self._find, provider, model), context)
        if isinstance(self._store, Memory):
            gate.book = Here(self._store.quota(key), context.clock, context.wall)
        else:
            gate.book = There(self._store, key, self._outbox, gate.wake)
        return gate


class Slot:
    """Room for one call. Say `acked` when the response's headers are there, and `finish` at the end.

    A block that is left before `finish`, by an error or cancelled, leaves the call counted: it may have been sent. Say
    `release` where it was not.
    """

    __slots__ = ("_acked", "_gate", "_priority", "_ticket", "_weights")

    def __init__(self, gate: Gate[Any] | None, weights: Weights, priority: int) -> None:
        self._gate, self._weights, self._priority = gate, weights, priority
        self._ticket: Call | str | None = None
        self._acked = False

    async def __aenter__(self) -> Self:
        gate = self._gate
        if gate is not None:
            ticket = gate.enter(self._weights)
            if ticket is None:
                ticket = await gate.queue(self._weights, self._priority)
            if gate.profile.pacing:
                await gate.pace(ticket, self._weights)
            self._ticket = ticket
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ticket is None or self._gate is None:
            return
        if kind is None or self._acked:
            self.finish(None)
        else:
            self._gate.cut(self._take())

    def acked(self, reply: Feedback | Mapping[str, str] | None = None) -> None:
        """The provider took the call; its headers, or what was read from them, may correct the limits."""
        gate = self._gate
        if gate is None or self._ticket is None or self._acked:
            return
        self._acked = True
        gate.acked(self._ticket, None if reply is None else _read(reply, gate, 200))

    def finish(self, actual: Weights | Usage | None) -> None:
        """The call is over and weighed `actual`; None: unknown, the estimate stays."""
        gate, ticket = self._gate, self._ticket
        if gate is None or ticket is None:
            return
        self._ticket = None
        if actual is not None and not isinstance(actual, Weights):
            actual = _weights(actual)
        gate.finish(ticket, self._weights, actual, acked=self._acked)

    def release(self) -> None:
        """The call was never sent: all is given back."""
        if self._gate is not None and self._ticket is not None:
            self._gate.release(self._take())

    def rejected(self, reply: Reply) -> None:
        """The provider refused the call for its limits (HTTP 429)."""
        if self._gate is not None and self._ticket is not None:
            self._gate.rejected(self._take(), _read(reply, self._gate, 429))

    def _take(self) -> Call | str | None:
        ticket, self._ticket = self._ticket, None
        return ticket


def _read(reply: Reply, gate: Gate[Any], status: int) -> Feedback:
    match reply:
        case Feedback():
            return reply
        case BackendError(reply=HttpReply() as said):
            return learned(gate.dialect, said.status, said.headers, said.body)
        case BackendError():
            return Feedback(retry_after=reply.retry_after)
        case _:
            return learned(gate.dialect, status, reply)


def _weights(usage: Usage) -> Weights:
    return Weights(usage.input_tokens, usage.output_tokens, usage.cost or 0.0)


def _key(provider: str, model: str, scope: str) -> str:
    return f"{provider}/{model}" + (f"#{scope}" if scope else "")
