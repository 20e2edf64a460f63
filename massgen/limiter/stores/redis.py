"""Quotas of several hosts, on a Redis or Valkey server: a script does each step in one go, by the server's clock."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import resources
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from massgen.errors import UsageError
from massgen.limiter.quotas import Blocked, Limits
from massgen.limiter.stores.shared import (
    LEASE,
    RETRY,
    SEEN,
    TURN,
    Answer,
    Away,
    Shared,
    Step,
    Tell,
    ignore,
    rules,
    soon,
)
from massgen.limiter.windows import next_midnight

PATIENCE = 2.0
"""Seconds to wait for a connection or a reply."""
SCHEMES = ("redis", "rediss", "unix")
PARTS = ("state", "calls", "minute", "spend", "owners", "waiters")
HOSTS = 2
"""How many share the limits if the server was never reached: whoever names one has at least two hosts."""


class Redis(Shared):
    """Quotas on the server at `url` (`redis://`, `rediss://` or `unix://`). A process that says nothing for `lease` seconds is
    dead: its calls under way count as acknowledged. `told` hears when the server is away, and when it is back; that is tried
    after `retry` seconds, then less and less often."""

    def __init__(self, url: str, *, lease: float = LEASE, retry: float = RETRY, told: Tell = ignore) -> None:
        super().__init__(lambda owner: _Server(url, owner, lease), told, retry)


class _Client(Protocol):
    """What is used of `redis.asyncio.Redis`."""

    def register_script(self, script: str) -> Callable[..., Awaitable[Any]]: ...

    async def ping(self) -> object: ...

    async def aclose(self) -> None: ...


class _Server:
    """A ledger on a server; a task of its own gives the signs of life."""

    def __init__(self, url: str, owner: str, lease: float) -> None:
        self.where, self.sharers = f"Redis at {_place(url)}", HOSTS
        self._client, self._owner, self._lease = _client(url), owner, lease
        script = resources.files("massgen.limiter.stores").joinpath("quota.lua").read_text("utf-8")
        self._script = self._client.register_script(script)
        self._days: dict[str, list[int]] = {}
        self._calls, self._keys = dict[str, Step](), dict[str, Step]()
        self._alive: asyncio.Task[None] | None = None

    async def open(self) -> None:
        with _Told():
            await self._client.ping()
        if self._alive is None:
            self._alive = asyncio.get_running_loop().create_task(self._live())

    async def do(self, step: Step, ago: float) -> Answer:
        reply = await self._ask(step, ago)
        self._keys[step.key] = step
        self.sharers = reply["sharers"]
        if step.verb in ("finish", "release"):
            self._calls.pop(step.ticket, None)
        if step.verb == "use":
            scales = {rule.dimension: (rule.scale, rule.limit) for rule in rules(step.limits)}
            return {name: (reply["use"][name] / scale, limit / scale) for name, (scale, limit) in scales.items()}
        if blocked := reply.get("blocked"):
            return _blocked(*blocked)
        if step.verb in ("reserve", "count"):
            self._calls[step.ticket] = step
        return None

    async def close(self) -> None:
        task, self._alive = self._alive, None
        if task:
            task.cancel()
            await asyncio.wait([task])
        keys, self._keys = self._keys, {}
        with suppress(Away), _Told():
            for step in keys.values():
                await self._ask(step, 0.0, "leave")
            await self._client.aclose()

    async def _live(self) -> None:
        """A server that is away is noticed by the next step. Ends at `close`, also where Python 3.11 loses the cancelling."""
        while self._alive:
            await asyncio.sleep(self._lease / 4)
            for step in {step.key: step for step in self._calls.values()}.values():
                with suppress(Away):
                    await self._ask(step, 0.0, "live")

    async def _ask(self, step: Step, ago: float, verb: str = "") -> Mapping[str, Any]:
        keys = [f"massgen:{{{step.key}}}:{part}" for part in PARTS]
        reply: dict[str, Any] = {}
        for _ in range(2):
            asked = self._asked(step, reply.get("zone")) | {"verb": verb or step.verb, "ago": round(ago * 1e6)}
            with _Told():
                reply = json.loads(await self._script(keys=keys, args=[json.dumps(asked)]))
            if "zone" not in reply:
                return reply
        raise Away("its clock is off by centuries")

    def _asked(self, step: Step, now: str | None) -> dict[str, Any]:
        """`now`: microseconds by the server's clock, where that is in none of the days that were known."""
        zone, limits = step.limits.day_zone, step.limits
        if now or zone not in self._days:
            self._days[zone] = _midnights(zone, int(now) / 1e6 if now else 0.0)
        asked = {
            **_of(limits), "ticket": step.ticket, "owner": self._owner, "days": self._days[zone],
            "lease": round(self._lease * 1e6), "lost": round(max(SEEN, 2 * self._lease) * 1e6), "turn": round(TURN * 1e6),
            "keep": round(2000 * max(86_400.0, limits.cost_seconds, step.seconds)),
            "seconds": round(step.seconds * 1e6), "dimension": step.dimension,
        }  # fmt: skip
        return asked if step.vector is None else {**asked, "vector": step.vector}


@lru_cache(maxsize=256)
def _of(limits: Limits) -> Mapping[str, Any]:
    """What the script is told of them."""
    return {
        "rules": [(rule.dimension, min(rule.limit, 1e15), rule.meter, rule.column + 1) for rule in rules(limits)],
        "minute": round(limits.minute_seconds * 1e6),
        "spend": round(limits.cost_seconds * 1e6),
        "spent": limits.cost is not None,
        "soon": round(soon(limits) * 1e6),
    }


class _Told:
    """Whatever is wrong with the server is told as `Away`."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from redis.exceptions import RedisError

        if isinstance(error, RedisError | OSError | ValueError):
            words = str(error).splitlines() or [type(error).__name__]
            raise Away(words[0]) from None


def _client(url: str) -> _Client:
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise UsageError(
            "limits are to be shared through Redis, but its client is not installed", fix="pip install 'massgen[redis]'"
        ) from None
    return cast(Any, Redis).from_url(
        url,
        single_connection_client=True,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 1),
    )


def _place(url: str) -> str:
    """The address without name and password. Raises `UsageError` where it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in SCHEMES:
        fix = "write redis://HOST:6379/0, rediss://HOST:6379/0 for TLS, or unix:///PATH"
        raise UsageError("the address of the server that shares rate limits is not one of Redis", fix=fix)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{port}"


def _midnights(zone: str, wall: float) -> list[int]:
    """Microseconds at which the days around `wall` begin."""
    days = [next_midnight(zone, wall - 2 * 86_400)]
    for _ in range(4):
        days.append(next_midnight(zone, days[-1]))
    return [round(day * 1e6) for day in days]


def _blocked(dimension: str, used: float, limit: float, wait: float | bool) -> Blocked:
    scale = 1e9 if dimension == "cost" else 1
    return Blocked(dimension or "hold", used / scale, limit / scale, None if wait is False else wait / 1e6)
