"""How calls count against a provider's limits: sliding windows, days in the provider's zone, calls in flight. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, TypeAlias

from massgen.errors import QuotaError
from massgen.limiter.windows import (
    BITS,
    INPUT,
    MASK,
    NANO,
    OUTPUT,
    REQUESTS,
    TOTAL,
    Day,
    Flight,
    Meter,
    Vector,
    Window,
    column,
)

Dimension: TypeAlias = Literal["rpm", "tpm", "itpm", "otpm", "rpd", "tpd", "concurrency", "cost"]
MOST = 2**40
"""No call weighs more tokens, nor costs more ten-thousandths of a cent, whatever a provider says of it."""
_REQUEST = 1 << BITS * REQUESTS
_INPUT = (1 << BITS * INPUT) + (1 << BITS * TOTAL)
_OUTPUT = (1 << BITS * OUTPUT) + (1 << BITS * TOTAL)


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
    own: frozenset[str] = frozenset()
    """The limits that the user set: replies may lower, but not raise them."""
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
    nano = round(min(max(0.0, weights.cost), MOST / 1e6) * 1e9)
    return (1, taken, given, taken + given, nano)


def pack(weights: Weights) -> int:
    """The `vector` of `weights` as one number."""
    taken, given = weights.input, weights.output
    if not weights.cost and 0 <= taken <= MOST and 0 <= given <= MOST:
        return _REQUEST + taken * _INPUT + given * _OUTPUT
    _, taken, given, _, nano = vector(weights)
    return _REQUEST + taken * _INPUT + given * _OUTPUT + (nano << BITS * NANO)


_FLYING, _OVER = -1, -2
"""Places of calls that are not acknowledged yet, and of those that are finished."""


class Call:
    """One call that a `Quota` counts; its fields are the quota's."""

    __slots__ = ("day", "heavy", "place", "spent")
    day: int

    def __init__(self, heavy: int, spent: int | None) -> None:
        self.heavy, self.spent, self.place = heavy, spent, _FLYING


@dataclass(frozen=True, slots=True)
class _Rule:
    """`limit` as it was given; `whole`: in the units of the meter's column, below which a limit of 0 blocks every call."""

    name: Dimension
    limit: float
    meter: Meter
    column: int
    whole: float

    @property
    def scale(self) -> float:
        return 1e9 if self.name == "cost" else 1

    @property
    def used(self) -> float:
        return column(self.meter.total, self.column) / self.scale


def _rule(name: Dimension, limit: float, meter: Meter, column: int) -> _Rule:
    whole = limit if limit == inf else round(limit * 1e9) if name == "cost" else int(limit)
    return _Rule(name, limit, meter, column, whole if limit > 0 else -1)


class Quota:
    """What one key has used. `now` is monotonic seconds; `wall`, epoch seconds, is asked for the day alone.

    A call occupies its windows from `reserve` until one window after `acked`, and a place of `concurrency` until `finish`.
    """

    def __init__(self, limits: Limits) -> None:
        self._minute, self._spend = Window(limits.minute_seconds), Window(limits.cost_seconds)
        self._sent, self._running = Flight(), Flight()
        self._day = Day(self._sent)
        self._held, self._why = -inf, ""
        self.limits = limits

    @property
    def limits(self) -> Limits:
        """Setting them keeps what is counted; costs are counted while they are limited."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._minute.resize(limits.minute_seconds)
        self._spend.resize(limits.cost_seconds)
        self._day.settle(limits.day_zone)
        tokens = INPUT if limits.counts == "input" else TOTAL
        rules: list[tuple[Dimension, float | None, Meter, int]] = [
            ("concurrency", limits.concurrency, self._running, REQUESTS),
            ("rpm", limits.rpm, self._minute, REQUESTS),
            ("tpm", limits.tpm, self._minute, tokens),
            ("itpm", limits.itpm, self._minute, INPUT),
            ("otpm", limits.otpm, self._minute, OUTPUT),
            ("rpd", limits.rpd, self._day, REQUESTS),
            ("tpd", limits.tpd, self._day, tokens),
            ("cost", limits.cost, self._spend, NANO),
        ]
        self._rules = [_rule(name, limit, meter, column) for name, limit, meter, column in rules if limit is not None]
        self._tests = [(rule.meter, BITS * rule.column, rule.whole) for rule in self._rules]

    def check(self, weights: Weights, now: float, wall: float) -> Blocked | None:
        """Why a call of `weights` must wait, if it must. Raises `QuotaError` where waiting never helps."""
        self._advance(now, wall)
        return self._blocked(pack(weights), now, wall)

    def reserve(self, weights: Weights, now: float, wall: float) -> Call | Blocked:
        """Count a call from now on, unless it must wait. Raises `QuotaError` where waiting never helps."""
        heavy, day = pack(weights), self._day
        if now >= self._minute.due or wall >= day.midnight or now >= day.due or now >= self._spend.due:
            self._advance(now, wall)
        for meter, shift, whole in self._tests:
            if (meter.total + heavy >> shift) & MASK > whole:
                break
        else:
            if now >= self._held:
                return self._count(heavy)
        return self._blocked(heavy, now, wall) or self._count(heavy)

    def acked(self, call: Call, now: float, wall: float) -> None:
        """The provider has answered `call`: from now on it ages."""
        if call.place != _FLYING:
            return
        day = self._day
        if wall >= day.midnight or now >= day.due:
            self._advance(now, wall)
        self._sent.total -= call.heavy
        call.place = self._minute.log(call.heavy, now)
        call.day = day.number if day.tomorrow is None else day.number + 1
        if call.spent is not None:
            call.spent = self._spend.log(call.heavy, now)

    def finish(self, call: Call, actual: Weights | None, now: float, wall: float) -> None:
        """`call` is over; it weighed `actual`, or for None what was reserved. Harmless when repeated."""
        place = call.place
        if place < 0:
            if place == _OVER:
                return
            self.acked(call, now, wall)
            place = call.place
        call.place = _OVER
        self._running.total -= call.heavy
        if actual is not None and (change := pack(actual) - call.heavy):
            self._minute.correct(place, change)
            self._day.correct(change, call.day)
            if call.spent is not None:
                self._spend.correct(call.spent, change)

    def release(self, call: Call, now: float, wall: float) -> None:
        """`call` was never sent: everything is given back; one that was acknowledged is finished instead."""
        if call.place >= 0:
            return self.finish(call, None, now, wall)
        if call.place == _FLYING:
            self._advance(now, wall)
            call.place = _OVER
            for meter in (self._minute, self._sent, self._running, *([] if call.spent is None else [self._spend])):
                meter.total -= call.heavy
            self._day.count(-call.heavy)
        return None

    def hold(self, seconds: float, now: float, dimension: str = "") -> None:
        """No call before `seconds` are over, nor before an earlier hold's end."""
        if now + seconds > self._held:
            self._held, self._why = now + seconds, dimension

    def use(self, now: float, wall: float) -> dict[str, tuple[float, float]]:
        """What is used of each limit, and the limit."""
        self._advance(now, wall)
        return {rule.name: (rule.used, rule.limit) for rule in self._rules}

    def _count(self, heavy: int) -> Call:
        self._minute.total += heavy
        self._sent.total += heavy
        self._running.total += heavy
        self._day.count(heavy)
        if self._limits.cost is None:
            return Call(heavy, None)
        self._spend.total += heavy
        return Call(heavy, _FLYING)

    def _advance(self, now: float, wall: float) -> None:
        self._minute.expire(now)
        self._spend.expire(now)
        self._day.advance(now, wall)

    def _blocked(self, heavy: int, now: float, wall: float) -> Blocked | None:
        """The reason that lasts longest."""
        reasons = [Blocked(self._why or "hold", 0, 0, self._held - now)] if self._held > now else []
        for rule in self._rules:
            need, used = column(heavy, rule.column), column(rule.meter.total, rule.column)
            if need > rule.whole:
                raise _misfit(rule, need, self._limits)
            if used + need > rule.whole:
                wait = rule.meter.wait(rule.column, int(used + need - rule.whole), now, wall)
                reasons.append(Blocked(rule.name, rule.used, rule.limit, wait))
        return max(reasons, key=lambda why: inf if why.wait is None else why.wait, default=None)


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


def _misfit(rule: _Rule, need: float, limits: Limits) -> QuotaError:
    unit = UNITS[rule.name] if rule.name != "cost" else f"dollars in {limits.cost_seconds:g} s"
    if rule.limit <= 0:
        fix = "use another model, another key or a paid tier; if your tier has quota, set it under `rate_limits:`"
        return QuotaError(f"no quota: the limit is 0 {unit} ({rule.name})", fix=fix)
    return QuotaError(
        f"a call of {need / rule.scale:,.12g} is larger than the limit of {rule.limit:,.12g} {unit} ({rule.name})",
        fix="shorten the question, its attachments or `max_tokens`, or raise the limit under `rate_limits:`",
    )
