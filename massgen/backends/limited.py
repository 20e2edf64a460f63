"""A backend whose calls wait until their provider's limits allow them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial

from massgen.backends import Backend, Request, tokens
from massgen.errors import BackendError
from massgen.limiter import Limiter, Slot, Wait
from massgen.limiter.quotas import Weights
from massgen.messages import Chunk, Usage, Waiting

REPLY = 1_024
"""Tokens that a reply is taken to have, where `max_tokens` does not say."""

_SPACING = ("pacing", "cooldown")
"""Waits that are no lack of room."""
_listener: ContextVar[Callable[[Wait], None]] = ContextVar("listener")


def hear(wait: Wait) -> None:
    """What the limiter is to call when something waits: tells the task whose call that is."""
    _listener.get()(wait)


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose limits hold for an agent: those of `scope`'s account. It waits at most `longest` seconds; its replies have up to
    `reply` tokens; `counted` says whether tokens are worth counting before a call, and `price` what tokens in and out cost
    in US dollars."""

    provider: str
    model: str
    scope: str
    longest: float
    reply: int = REPLY
    counted: Callable[[], bool] = lambda: True
    price: Callable[[int, int], float] = lambda taken, given: 0.0


class Limited:
    """`backend` by the limits that `limiter` knows for `terms`."""

    def __init__(self, backend: Backend, limiter: Limiter, terms: Terms) -> None:
        self._backend, self._limiter, self._terms = backend, limiter, terms
        self._started = False

    @property
    def model(self) -> str:
        return self._backend.model

    async def aclose(self) -> None:
        await self._backend.aclose()

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        """Raises `BackendError` also where there is no room soon, and `QuotaError` where there never is."""
        usage = None
        async with AsyncExitStack() as stack:
            slot = await self._admitted(request, stack)
            chunks = await stack.enter_async_context(
                aclosing(self._backend.stream(replace(request, accepted=slot.acked)))
            )
            try:
                async for chunk in chunks:
                    if isinstance(chunk, Usage):
                        usage = chunk
                    yield chunk
            except BackendError as error:
                _count(error, slot)
                raise
            slot.finish(usage and self._weights(usage.input_tokens, usage.output_tokens, usage.cost))

    async def _admitted(self, request: Request, stack: AsyncExitStack) -> Slot:
        terms = self._terms
        estimate = self._weights(tokens.count(request), terms.reply, None) if terms.counted() else Weights()
        listening = _listener.set(partial(self._heard, request.waits))
        try:
            if not self._started:
                self._started = True
                await self._limiter.start(terms.provider, terms.model)
            slot = self._limiter.slot(terms.provider, terms.model, estimate=estimate, scope=terms.scope)
            return await stack.enter_async_context(slot)
        finally:
            _listener.reset(listening)

    def _weights(self, taken: int, given: int, cost: float | None) -> Weights:
        return Weights(taken, given, self._terms.price(taken, given) if cost is None else cost)

    def _heard(self, waits: Callable[[Waiting], None], wait: Wait) -> None:
        if wait.seconds > self._terms.longest and not wait.over and wait.dimension not in _SPACING:
            raise BackendError(
                f"the limit {wait.dimension} is used up ({wait.used:,.12g} of {wait.limit:,.12g}), and there is no room for "
                f"{wait.seconds:,.0f} s, more than a turn may take",
                where=f"{wait.provider}/{wait.model}",
                fix="Ask another model, or later; if your account has more, say so under `rate_limits`.",
            )
        waits(Waiting(wait.dimension, wait.seconds, wait.used, wait.limit, wait.over))


def _count(error: BackendError, slot: Slot) -> None:
    """What the provider said is what the limits learn; the queue, not the caller, then waits as long as it asked for."""
    if error.reply is None:
        return
    if error.reply.status == 429 and error.transient:  # else the account's money is spent: no matter of waiting
        slot.rejected(error)
        error.retry_after = None
    else:
        slot.finish(None)
