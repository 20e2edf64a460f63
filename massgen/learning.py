"""How limits are corrected by what a provider replies. Pure.

A limit that a reply names is kept to from then on. A refusal that names none is answered by an estimate: as many requests
a minute as succeeded in the window before it, counted when the hold ends, for calls under way may still succeed. After 5
windows without a refusal the estimate is raised a little; each refusal doubles that number of windows.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from massgen.quotas import UNITS, Feedback, Limits
from massgen.windows import next_midnight

REMEMBERED = 10_000
"""Successes that an estimate can be made of: 320 kB a key."""
CLEAN_WINDOWS = 5


class Learner:
    """What replies taught about the limits of one key; `tell` takes each lesson once, in words."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._said: set[str] = set()
        self._named: dict[str, float] = {}
        self._guess: float | None = None
        self._patience, self._changed = CLEAN_WINDOWS, 0.0
        self._successes: deque[float] = deque(maxlen=REMEMBERED)
        self._refused: float | None = None
        self._settles, self._streak = 0.0, 0

    def succeeded(self, now: float) -> None:
        self._successes.append(now)
        self._streak = 0

    def limits(self, base: Limits, now: float) -> Limits:
        """What to keep to: `base`, lowered as learned; `base` itself where nothing was."""
        if self._refused is not None and now >= self._settles:
            self._estimate(self._lowered(base), self._refused, now)
        if self._guess is not None and now - self._changed >= self._patience * base.minute_seconds:
            self._guess, self._changed = self._guess + max(1, self._guess // 50), now
            self._guess = None if base.rpm is not None and self._guess >= base.rpm else self._guess
        return self._lowered(base) if self._named or self._guess is not None else base

    def learn(self, feedback: Feedback, base: Limits) -> bool:
        """Keep to the limits that a reply names; whether one is lower than thought."""
        lower = False
        for dimension, value in feedback.limits.items():
            if dimension not in UNITS or not (value > 0 or (feedback.no_quota and value == 0)):
                continue  # a provider's nonsense
            thought = getattr(self._lowered(base), dimension)
            self._named[dimension] = value
            if thought is None or value < thought:
                lower = True
                instead = "" if thought is None else f", not {thought:,.12g}"
                self._say(f"the provider allows {value:,.12g} {UNITS[dimension]}{instead}: keeping to that")
        return lower

    def refused(self, feedback: Feedback, base: Limits, now: float, wall: float) -> float:
        """Seconds for which no call may be sent after a refusal like this."""
        lower = self.learn(feedback, base)
        quota = f" ({feedback.quota})" if feedback.quota else ""
        if feedback.no_quota:
            self._named.setdefault("rpm", 0)
            self._say(f"the provider gives no quota{quota}")
            return 0.0
        if feedback.per_day:
            self._say(f"the day's quota is used up{quota}: no call before midnight in {base.day_zone}")
            return max(feedback.retry_after or 0.0, next_midnight(base.day_zone, wall) - wall)
        hold = feedback.retry_after
        if hold is None:
            hold = 0.0 if lower else base.minute_seconds / 12 * 2 ** min(self._streak, 4)
        if not feedback.limits:
            self._blind(hold, now)
        self._streak += 1
        return hold

    def _blind(self, hold: float, now: float) -> None:
        if self._refused is None:
            self._refused = now
            self._patience *= 1 if self._guess is None else 2
        self._settles = max(self._settles, now + hold)

    def _estimate(self, current: Limits, refused: float, now: float) -> None:
        oldest = refused - current.minute_seconds
        found = sum(at > oldest for at in self._successes)
        most = REMEMBERED if current.rpm is None else current.rpm - max(1, current.rpm // 10)
        self._guess, self._changed, self._refused = max(1, min(found, most)), now, None
        self._say(f"the provider refuses calls without naming a limit: going on with {self._guess:g} {UNITS['rpm']}")

    def _lowered(self, base: Limits) -> Limits:
        known = {**self._named}
        if self._guess is not None:
            known["rpm"] = min(self._guess, known.get("rpm", self._guess))
        changes = {
            name: value if (own := getattr(base, name)) is None else min(own, value) for name, value in known.items()
        }
        return replace(base, **changes)

    def _say(self, lesson: str) -> None:
        if lesson not in self._said:
            self._said.add(lesson)
            self._tell(lesson)
