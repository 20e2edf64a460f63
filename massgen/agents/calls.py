"""One model call as an agent makes it: shown while it streams, tried again when that may help, recorded when it is done."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic

from massgen.agents import Turn
from massgen.backends import Backend, Request
from massgen.errors import BackendError
from massgen.events import Retried, Said, Spent, Waited
from massgen.messages import Reply, Waiting, replied


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and after how long a failed call is sent again: `first` seconds, doubling up to `longest`."""

    attempts: int = 6
    first: float = 1.0
    longest: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random

    def delay(self, attempt: int, retry_after: float | None) -> float:
        """Seconds before the attempt after number `attempt` (from 1): what the server asked for, else back-off."""
        backoff = min(self.longest, self.first * 2 ** (attempt - 1)) * (0.5 + self.jitter() / 2)
        return max(backoff, retry_after or 0.0)

    def worth(self, attempt: int, error: BackendError) -> bool:
        """Whether another attempt is due; not where the server wants a longer pause than we are ready to make."""
        return error.transient and attempt < self.attempts and (error.retry_after or 0) <= self.longest


async def call(backend: Backend, request: Request, turn: Turn, retry: Retry) -> Reply:
    """The whole reply to `request`. Raises the last `BackendError` when trying again does not help."""
    if message := turn.said():
        return replied(message)
    attempt = 1
    while True:
        try:
            return await _attempt(backend, request, turn)
        except BackendError as error:
            if not retry.worth(attempt, error):
                raise
            delay = retry.delay(attempt, error.retry_after)
            turn.record(Retried(turn.agent, turn.seq, str(error), round(delay, 3)))
        await retry.sleep(delay)
        attempt += 1


async def _attempt(backend: Backend, request: Request, turn: Turn) -> Reply:
    reply, began = Reply(), monotonic()
    async with aclosing(backend.stream(replace(request, waits=partial(_waits, turn)))) as chunks:
        async for chunk in chunks:
            reply.add(chunk)
            turn.show(chunk)
    usage, seconds = reply.usage, round(monotonic() - began, 3)
    turn.record(
        Said(turn.agent, turn.seq, reply.message),
        Spent(turn.agent, turn.seq, backend.model, usage.input_tokens, usage.output_tokens, usage.cost, seconds),
    )
    return reply


def _waits(turn: Turn, wait: Waiting) -> None:
    turn.show(wait)
    if wait.over:
        turn.record(Waited(turn.agent, turn.seq, wait.dimension, wait.used, wait.limit, round(wait.seconds, 3)))
