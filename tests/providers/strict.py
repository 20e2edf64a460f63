"""A provider that keeps to its limits to the letter and counts violations by itself: it shares no code with the limiter.

A request counts when it arrives, which is a while after it was sent; it is refused where it exceeds a limit in any window up
to then. Replies say in headers what is left, and refusals what was exceeded, in the words of OpenAI or Gemini.
"""

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.providers.app import Simulator
from tests.providers.policy import Call, Limits, Reply, fault, say
from tests.providers.routes import Place

Quota = Literal["rpm", "tpm"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request: when it arrived, whose key it had, what it weighs, and which limit it exceeded, if any."""

    at: float
    key: str
    tokens: int
    exceeded: Quota | None = None


@dataclass(slots=True)
class Judge:
    """Sliding windows of `seconds`, for requests and tokens; what is refused does not count."""

    rpm: int | None = None
    tpm: int | None = None
    seconds: float = 60.0
    clock: Callable[[], float] = time.monotonic
    arrivals: list[Arrival] = field(default_factory=list[Arrival])
    _recent: deque[Arrival] = field(default_factory=deque[Arrival])

    @property
    def served(self) -> list[Arrival]:
        return [each for each in self.arrivals if not each.exceeded]

    @property
    def violations(self) -> list[Arrival]:
        return [each for each in self.arrivals if each.exceeded]

    @property
    def tokens(self) -> int:
        """What counts now."""
        return sum(each.tokens for each in self._recent)

    @property
    def requests(self) -> int:
        """How many count now."""
        return len(self._recent)

    def arrive(self, key: str, tokens: int) -> Arrival:
        now = self.clock()
        while self._recent and self._recent[0].at + self.seconds <= now:
            self._recent.popleft()
        exceeded: Quota | None = None
        if self.rpm is not None and self.requests + 1 > self.rpm:
            exceeded = "rpm"
        if self.tpm is not None and self.tokens + tokens > self.tpm:
            exceeded = exceeded or "tpm"
        arrival = Arrival(now, key, tokens, exceeded)
        self.arrivals.append(arrival)
        if not exceeded:
            self._recent.append(arrival)
        return arrival

    def room_in(self) -> float:
        """Seconds until the oldest request that counts has left."""
        return self._recent[0].at + self.seconds - self.clock() if self._recent else 0.0


class Strict(Simulator):
    """A model server before which `judge` sits. A request takes up to `jitter` seconds to arrive, and its reply as long back.

    A call weighs the words of its messages, and the reply says that it took them.
    """

    def __init__(
        self, judge: Judge, *, words: Literal["openai", "gemini"] = "openai", jitter: float = 0.0, seed: int = 1
    ) -> None:
        super().__init__(self._reply)
        self.judge, self._words, self._jitter, self._dice = judge, words, jitter, random.Random(seed)

    async def _complete(self, request: web.Request, place: Place, asked: Call) -> web.StreamResponse:
        await asyncio.sleep(self._dice.uniform(0, self._jitter))
        return await super()._complete(request, place, asked)

    def _reply(self, asked: Call) -> Reply:
        tokens, delay = weight(asked), self._dice.uniform(0, self._jitter)
        arrival = self.judge.arrive(asked.key, tokens)
        if not arrival.exceeded:
            return say("Yes.", input_tokens=tokens, output_tokens=0, delay=delay, limits=self._left())
        if self._words == "gemini":
            return _gemini(asked.model, arrival.exceeded, self.judge)
        return _openai(asked.model, arrival, self.judge)

    def _left(self) -> Limits | None:
        judge = self.judge
        if judge.rpm is None or judge.tpm is None:
            return None
        return Limits(judge.rpm, judge.rpm - judge.requests, judge.tpm, judge.tpm - judge.tokens, judge.room_in())


def weight(asked: Call) -> int:
    """The words of its messages."""
    return len(" ".join(_text(each.get("content")) for each in asked.messages).split())


def _text(content: Any) -> str:
    """Of a string, or of parts that have a `text`."""
    return content if isinstance(content, str) else " ".join(str(part.get("text", "")) for part in content or ())


def _openai(model: str, arrival: Arrival, judge: Judge) -> Reply:
    """https://help.openai.com/en/articles/6891753"""
    requests = arrival.exceeded == "rpm"
    what, limit = ("requests per min (RPM)", judge.rpm) if requests else ("tokens per min (TPM)", judge.tpm)
    used, asked = (judge.requests, 1) if requests else (judge.tokens, arrival.tokens)
    message = (
        f"Rate limit reached for {model} in organization org-tests on {what}: Limit {limit}, Used {used}, "
        f"Requested {asked}. Please try again in {judge.room_in():.3f}s."
    )
    return fault(status=429, message=message, code="rate_limit_exceeded", retry_after=judge.room_in())


_GEMINI = {
    "rpm": ("generate_content_free_tier_requests", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
    "tpm": ("generate_content_free_tier_input_token_count", "GenerateContentInputTokensPerModelPerMinute-FreeTier"),
}


def _gemini(model: str, exceeded: Quota, judge: Judge) -> Reply:
    """google.rpc.QuotaFailure and RetryInfo, as the API sends them."""
    metric, quota = _GEMINI[exceeded]
    metric, limit = f"generativelanguage.googleapis.com/{metric}", judge.rpm if exceeded == "rpm" else judge.tpm
    wait = f"{judge.room_in():.9g}s"
    violation = {"quotaMetric": metric, "quotaId": quota, "quotaDimensions": {"location": "global", "model": model}}
    kinds = "type.googleapis.com/google.rpc."
    details = [
        {"@type": f"{kinds}QuotaFailure", "violations": [{**violation, "quotaValue": str(limit)}]},
        {"@type": f"{kinds}RetryInfo", "retryDelay": wait},
    ]
    message = (
        "You exceeded your current quota, please check your plan and billing details.\n"
        f"* Quota exceeded for metric: {metric}, limit: {limit}, model: {model}\nPlease retry in {wait}."
    )
    body = {"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}}
    headers = {"content-type": "application/json; charset=UTF-8"}
    return fault(status=429, body=json.dumps(body, indent=2).encode(), headers=headers)
