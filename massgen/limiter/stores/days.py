"""A provider's day for several processes: written down between two steps, kept over restarts. Pure."""

from collections.abc import Sequence
from typing import Any

from massgen.limiter.windows import ASLEEP, Vector, next_midnight


def shift(totals: list[int], weights: Vector, sign: int = 1) -> None:
    for number, weight in enumerate(weights):
        totals[number] += weight * sign


class Day:
    """The calls of the provider's day, by the rule of `massgen.limiter.windows.Day`: the wall's clock and the monotonic one must both
    say that it is over; while they disagree, calls count on both sides of midnight."""

    def __init__(self) -> None:
        self.totals, self.number = [0] * 5, 0
        self._zone, self._midnight, self._due = "", 0.0, 0.0
        self._tomorrow: list[int] | None = None

    def state(self) -> list[Any]:
        return [self.totals, self.number, self._zone, self._midnight, self._due, self._tomorrow]

    def restore(self, state: Sequence[Any]) -> None:
        self.totals, self.number, self._zone, self._midnight, self._due, self._tomorrow = state

    def restart(self, now: float, wall: float) -> None:
        """The monotonic clock began anew: the wall's alone says when the day ends."""
        self._due = now + self._midnight - wall

    def advance(self, zone: str, now: float, wall: float, sent: list[int]) -> None:
        """To the day of `now` and `wall`; what was `sent` and not acknowledged counts on both sides."""
        if zone != self._zone:
            self._zone, self._midnight = zone, next_midnight(zone, wall)
            self._due = now + self._midnight - wall
        if wall < self._midnight and now < self._due:
            return
        if self._tomorrow is None:
            self._tomorrow = [*sent]
        slept = wall >= self._midnight + ASLEEP
        if slept or (wall >= self._midnight and now >= self._due):
            self.totals, self._tomorrow, self.number = self._tomorrow, None, self.number + 1
            ends = next_midnight(zone, wall if slept else self._midnight)
            self._due = now + ends - wall if slept else self._due + ends - self._midnight
            self._midnight = ends

    @property
    def latest(self) -> int:
        """The number of the last day that a call of this moment counts on."""
        return self.number + (self._tomorrow is not None)

    def add(self, weights: Vector, latest: int, sign: int = 1) -> None:
        """Count, or with `sign` -1 take back, a call that counts up to the day `latest`."""
        if latest >= self.number:
            shift(self.totals, weights, sign)
        if self._tomorrow is not None and latest > self.number:
            shift(self._tomorrow, weights, sign)

    def wait(self, now: float, wall: float) -> float:
        return max(self._midnight - wall, self._due - now)
