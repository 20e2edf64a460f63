"""How calls count against a provider's limits: sliding windows, days in the provider's zone, calls in flight. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from massgen.errors import QuotaError
from massgen.windows import INPUT, NANO, OUTPUT, REQUESTS, TOTAL, Day, Flight, Meter, Vector, Window

Dimension: TypeAlias = Literal["rpm", "tpm", "itpm", "otpm", "rpd", "tpd", "concurrency", "cost"]
MOST = 2**50
"""No call weighs more, whatever a provider says of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one model of one provider allows: requests and tokens a minute and a day. None: unlimited; 0: no quota."""

    rpm: float | None = None
    tpm: float | None = None
    itpm: float | None = None
    otpm: float | None = None
    rpd: float | None = None
    tpd: float | None = None
    concurrency: float | None = None
    cost: float | None = None
    """US dollars in any `cost_seconds`."""
    cost_seconds: float = 86_400
    minute_seconds: float = 60
    """The window of `rpm`, `tpm`, `itpm` and `otpm`."""
    day_zone: str = "UTC"
    """`rpd` and `tpd` begin anew at midnight there (Gemini: America/Los_Angeles)."""
    counts: Literal["input", "total"] = "total"
    """Which tokens `tpm` and `tpd` count (Gemini: input)."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What one call weighs, besides being one request; `cost` in US dollars."""

    input: int = 0
    output: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a call must wait: `used` of `limit`, for `wait` seconds; None: until a call in flight moves."""

    dimension: str
    used: float
    limit: float
    wait: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of one model's limits, and how its provider keeps to them."""

    limits: Limits = Limits()
    source: str = ""
    checked: str = ""
    """The date on which `source` said so."""
    pacing: bool = False
    """Whether calls are spread over the minute: for providers that enforce a minute's limit by the second."""
    cooldown: float = 0.0
    """Seconds between the starts of two agents."""
    failed_calls_count: bool = True
    dialect: str = ""
    """How the provider's headers and errors are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a provider's reply says about limits: `limits` by dimension, seconds to `retry_after`, the `quota` it names."""

    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    retry_after: float | None = None
    per_day: bool = False
    """Whether the day's limit is used up."""
    no_quota: bool = False
    """Whether the limit is zero: waiting does not help."""
    quota: str = ""


def vector(weights: Weights) -> Vector:
    """`weights` as whole numbers between 0 and `MOST`: nonsense from a provider must not break the counting."""
    taken, given = min(max(0, weights.input), MOST), min(max(0, weights.output), MOST)
    nano = round(min(max(0.0, weights.cost), 1e6) * 1e9) if weights.cost else 0
    return (1, taken, given, taken + given, nano)


class Call:
    """One call that a `Quota` counts; its fields are the quota's."""

    __slots__ = ("day", "open", "place", "spent", "vector")

    def __init__(self, vector: Vector, spent: bool) -> None:
        self.vector, self.spent = vector, -1 if spent else None
        self.place = -1
        self.open, self.day = True, 0


_Rule: TypeAlias = tuple[Dimension, float, Meter, int]


class Quota:
    """What one key has used. `now` is monotonic seconds; `wall`, epoch seconds, is asked for the day alone.

    A call occupies its windows from `reserve` until one window after `acked`, and a place of `concurrency` until `finish`.
    """

    def __init__(self, limits: Limits) -> None:
        self._minute, self._spend = Window(limits.minute_seconds), Window(limits.cost_seconds)
        self._day, self._sent, self._running = Day(), Flight(), Flight()
        self._held, self._why = float("-inf"), ""
        self.limits = limits

    @property
    def limits(self) -> Limits:
        """Setting them keeps what is counted; costs are counted while they are limited."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._minute.seconds, self._spend.seconds = limits.minute_seconds, limits.cost_seconds
        tokens = INPUT if limits.counts == "input" else TOTAL
        rules: list[tuple[Dimension, float | None, Meter, int]] = [
            ("concurrency", limits.concurrency, self._running, REQUESTS),
            ("rpm", limits.rpm, self._minute, REQUESTS),
            ("tpm", limits.tpm, self._minute, tokens),
            ("itpm", limits.itpm, self._minute, INPUT),
            ("otpm", limits.otpm, self._minute, OUTPUT),
            ("rpd", limits.rpd, self._day, REQUESTS),
            ("tpd", limits.tpd, self._day, tokens),
            ("cost", limits.cost if limits.cost is None else limits.cost * 1e9, self._spend, NANO),
        ]
        self._rules: list[_Rule] = [
            (name, limit, meter, column) for name, limit, meter, column in rules if limit is not None
        ]

    def check(self, weights: Weights, now: float, wall: float) -> Blocked | None:
        """Why a call of `weights` must wait, if it must. Raises `QuotaError` where waiting never helps."""
        return self._check(vector(weights), now, wall)

    def reserve(self, weights: Weights, now: float, wall: float) -> Call | Blocked:
        """Count a call from now on, unless it must wait."""
        heavy = vector(weights)
        if blocked := self._check(heavy, now, wall):
            return blocked
        call = Call(heavy, self._limits.cost is not None)
        for meter in self._meters(call):
            meter.add(heavy)
        self._day.add(heavy, 1, self._day.latest)
        return call

    def acked(self, call: Call, now: float, wall: float) -> None:
        """The provider has answered `call`: from now on it ages."""
        if not call.open or call.place >= 0:
            return
        self._advance(now, wall)
        self._sent.add(call.vector, -1)
        call.place, call.day = self._minute.log(call.vector, now), self._day.latest
        if call.spent is not None:
            call.spent = self._spend.log(call.vector, now)

    def finish(self, call: Call, actual: Weights | None, now: float, wall: float) -> None:
        """`call` is over; it weighed `actual`, or for None what was reserved. Harmless when repeated."""
        if not call.open:
            return
        self.acked(call, now, wall)
        call.open = False
        self._running.add(call.vector, -1)
        if actual is None or (true := vector(actual)) == call.vector:
            return
        self._advance(now, wall)
        self._minute.correct(call.place, call.vector, true)
        if call.spent is not None:
            self._spend.correct(call.spent, call.vector, true)
        self._day.add(call.vector, -1, call.day)
        self._day.add(true, 1, call.day)

    def release(self, call: Call, now: float, wall: float) -> None:
        """`call` was never sent: everything is given back; one that was acknowledged is finished instead."""
        if call.place >= 0:
            return self.finish(call, None, now, wall)
        if call.open:
            self._advance(now, wall)
            call.open = False
            for meter in self._meters(call):
                meter.add(call.vector, -1)
            self._day.add(call.vector, -1, self._day.latest)
        return None

    def hold(self, seconds: float, now: float, dimension: str = "") -> None:
        """No call before `seconds` are over, nor before an earlier hold's end."""
        if now + seconds > self._held:
            self._held, self._why = now + seconds, dimension

    def use(self, now: float, wall: float) -> dict[str, tuple[float, float]]:
        """What is used of each limit, and the limit."""
        self._advance(now, wall)
        scale = {"cost": 1e9}
        return {
            name: (meter.totals[column] / scale.get(name, 1), limit / scale.get(name, 1))
            for name, limit, meter, column in self._rules
        }

    def _meters(self, call: Call) -> list[Flight]:
        windows: list[Flight] = [self._minute, self._sent, self._running]
        return windows if call.spent is None else [*windows, self._spend]

    def _advance(self, now: float, wall: float) -> None:
        self._minute.expire(now)
        self._spend.expire(now)
        self._day.advance(self._limits.day_zone, now, wall, self._sent.totals)

    def _check(self, heavy: Vector, now: float, wall: float) -> Blocked | None:
        self._advance(now, wall)
        blocked = None
        for name, limit, meter, column in self._rules:
            need, used = heavy[column], meter.totals[column]
            if need > limit or limit <= 0:
                raise _misfit(name, limit, need, self._limits)
            if used + need > limit:
                scale = 1e9 if name == "cost" else 1
                wait = meter.wait(column, used + need - limit, now, wall)
                blocked = _longer(blocked, Blocked(name, used / scale, limit / scale, wait))
        held = self._held - now
        return _longer(blocked, Blocked(self._why or "hold", 0, 0, held)) if held > 0 else blocked


def _longer(one: Blocked | None, other: Blocked) -> Blocked:
    if one is None or (one.wait is not None and (other.wait is None or other.wait > one.wait)):
        return other
    return one


UNITS: Mapping[str, str] = {
    "rpm": "requests a minute",
    "tpm": "tokens a minute",
    "itpm": "input tokens a minute",
    "otpm": "output tokens a minute",
    "rpd": "requests a day",
    "tpd": "tokens a day",
    "concurrency": "calls at once",
    "cost": "dollars",
}


def _misfit(name: Dimension, limit: float, need: float, limits: Limits) -> QuotaError:
    unit = UNITS[name] if name != "cost" else f"dollars in {limits.cost_seconds:g} s"
    scale = 1e9 if name == "cost" else 1
    if limit <= 0:
        fix = "use another model, another key or a paid tier; if your tier has quota, set it under `rate_limits:`"
        return QuotaError(f"no quota: the limit is 0 {unit} ({name})", fix=fix)
    size = f"{need / scale:,.12g}"
    return QuotaError(
        f"a call of {size} is larger than the limit of {limit / scale:,.12g} {unit} ({name})",
        fix="shorten the question, its attachments or `max_tokens`, or raise the limit under `rate_limits:`",
    )
