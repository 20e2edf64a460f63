"""How limits are corrected by what a provider replies. Pure.

A limit that a reply names is kept to from then on. A refusal that names none is answered by an estimate: as many requests
a minute as succeeded in the window before it, counted when the hold ends, for calls under way may still succeed. After 5
windows without a refusal the estimate is raised a little; each refusal doubles that number of windows.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from massgen.limiter.quotas import UNITS, Feedback, Limits, Weights
from massgen.limiter.windows import next_midnight

REMEMBERED = 10_000
"""Successes that an estimate can be made of: 320 kB a key."""
CLEAN_WINDOWS = 5
MOST_WINDOWS = 80
"""However often an estimate was refused, it is raised again after so many windows."""
LONGEST = 90_000.0
"""Seconds. No hold is longer than a day and its longest hour, whatever a reply says."""
LESSONS = 50
"""Of more the user is not told: a provider that changes its mind at each reply would fill the screen."""


class Learner:
    """What replies taught about the limits of one key; `tell` takes each lesson once, in words. Those limits that are the
    user's `own` are never raised: a reply may speak of an account that others use, too."""

    def __init__(self, tell: Callable[[str], None], own: Callable[[str], bool] = lambda name: True) -> None:
        self.idle = True
        """Whether nothing was learned so far."""
        self._tell, self._own = tell, own
        self._said: set[str] = set()
        self._named: dict[str, float] = {}
        self._guess: float | None = None
        self._patience, self._changed = CLEAN_WINDOWS, 0.0
        self._successes: deque[float] = deque(maxlen=REMEMBERED)
        self.succeeded = self._successes.append
        self._refused: float | None = None
        self._settles, self._streak, self._last = 0.0, 0, 0.0

    def limits(self, base: Limits, weights: Weights, now: float) -> Limits:
        """What a call of `weights` is to keep to: `base`, corrected as learned; `base` itself where nothing was.

        A call that is larger than what was learned waits until it is alone: only `base` forbids it, or no quota at all.
        """
        if self._refused is not None and now >= self._settles:
            self._estimate(self._corrected(base), self._refused, now)
        if self._guess is not None and now - self._changed >= self._patience * base.minute_seconds:
            self._probe(self._guess, self._told(base), now)
        return _roomy(self._corrected(base), base, weights)

    def lessons(self, base: Limits) -> dict[str, float]:
        """What was learned, where it differs from `base`."""
        lowered = self._corrected(base)
        return {name: getattr(lowered, name) for name in UNITS if getattr(lowered, name) != getattr(base, name)}

    def learn(self, feedback: Feedback, base: Limits, *, refused: bool = False) -> bool:
        """Keep to the limits that a reply names; whether one is lower than thought."""
        lower = False
        for dimension, value in feedback.limits.items():
            if dimension not in UNITS or not (value >= 1 or (feedback.no_quota and value == 0)):
                continue  # a provider's nonsense
            thought = getattr(self._corrected(base), dimension)
            self._named[dimension], self.idle = value, False
            if thought is None or value < thought:
                lower = True
                if thought is None and not refused:
                    continue  # where nothing was assumed, a reply corrects nothing
                instead = "" if thought is None else f", not {thought:,.12g}"
                self._say(f"the provider allows {value:,.12g} {UNITS[dimension]}{instead}: keeping to that")
        return lower

    def refused(self, feedback: Feedback, base: Limits, now: float, wall: float) -> float:
        """Seconds for which no call may be sent after a refusal like this."""
        lower = self.learn(feedback, base, refused=True)
        quota = f" ({feedback.quota})" if feedback.quota else ""
        if feedback.no_quota:
            self._named.setdefault("rpm", 0)
            self.idle = False
            self._say(f"the provider gives no quota{quota}")
            return 0.0
        after = feedback.retry_after
        told = None if after is None or not 0 <= after <= LONGEST else after
        if feedback.per_day:
            return self._over_for_today(quota, told, base, wall)
        if self._successes and self._successes[-1] > self._last:
            self._streak = 0
        hold = told
        if hold is None:
            hold = 0.0 if lower else base.minute_seconds / 12 * 2 ** min(self._streak, 4)
        if not feedback.limits:
            self._blind(hold, now)
        self._streak, self._last = self._streak + 1, now
        return hold

    def _over_for_today(self, quota: str, told: float | None, base: Limits, wall: float) -> float:
        """Until midnight; where no zone's midnight is documented, a provider that says how long is believed."""
        if told is not None and base.day_zone == "UTC":
            self._say(f"the day's quota is used up{quota}: no call for {told:,.0f} s")
            return told
        self._say(f"the day's quota is used up{quota}: no call before midnight in {base.day_zone}")
        return max(told or 0.0, next_midnight(base.day_zone, wall) - wall)

    def _blind(self, hold: float, now: float) -> None:
        if self._refused is None:
            self._refused, self.idle = now, False
            if self._guess is not None:
                self._patience = min(2 * self._patience, MOST_WINDOWS)
        self._settles = max(self._settles, now + hold)

    def _estimate(self, current: Limits, refused: float, now: float) -> None:
        oldest = refused - current.minute_seconds
        found = sum(at > oldest for at in self._successes)
        if (
            not found and self._streak < 2
        ):  # others used it up, perhaps: how much is ours is not known, only when to ask
            self._refused = None
            return
        most = REMEMBERED if current.rpm is None else current.rpm - max(1, current.rpm // 10)
        self._guess, self._changed, self._refused = max(1, min(found, most)), now, None
        self._say(f"the provider refuses calls without naming a limit: going on with {self._guess:g} {UNITS['rpm']}")

    def _probe(self, guess: float, base: Limits, now: float) -> None:
        self._guess, self._changed = guess + max(1, guess // 50), now
        if base.rpm is not None and self._guess >= base.rpm:
            self._guess, self._patience = None, CLEAN_WINDOWS

    def _corrected(self, base: Limits) -> Limits:
        """`base` as replies corrected it."""
        known = self._told(base)
        return known if self._guess is None else replace(known, rpm=min(self._guess, known.rpm or self._guess))

    def _told(self, base: Limits) -> Limits:
        """`base` as replies told it, by the numbers that they named."""
        changes: dict[str, float] = {}
        for name, value in self._named.items():
            thought = getattr(base, name)
            changes[name] = min(thought, value) if thought is not None and self._own(name) else value
        return replace(base, **changes) if changes else base

    def _say(self, lesson: str) -> None:
        if lesson not in self._said and len(self._said) < LESSONS:
            self._said.add(lesson)
            self._tell(lesson)


def _roomy(limits: Limits, base: Limits, weights: Weights) -> Limits:
    tokens = weights.input + (weights.output if base.counts == "total" else 0)
    wider: dict[str, float] = {}
    for name, need in (("tpm", tokens), ("tpd", tokens), ("itpm", weights.input), ("otpm", weights.output)):
        limit, most = getattr(limits, name), getattr(base, name)
        if limit is not None and 0 < limit < need:
            wider[name] = need if most is None else min(need, most)
    return replace(limits, **wider) if wider else limits
