"""What counts calls: sliding windows, days in a provider's zone, calls under way. Pure; O(1) amortised a call."""

from array import array
from datetime import datetime, time, timedelta
from typing import Protocol, TypeAlias
from zoneinfo import ZoneInfo

Vector: TypeAlias = tuple[int, int, int, int, int]
"""What a call weighs: 1 request, input tokens, output tokens, both, and billionths of a dollar."""

REQUESTS, INPUT, OUTPUT, TOTAL, NANO = range(5)
ASLEEP = 7200.0
"""Seconds by which a clock is never merely set wrong: beyond, the machine slept while the monotonic clock stood still."""


def next_midnight(zone: str, wall: float) -> float:
    """The epoch seconds at which the day of `wall` ends in `zone`; a midnight that a clock change skips is that change."""
    day = datetime.fromtimestamp(wall, ZoneInfo(zone)).date() + timedelta(days=1)
    return datetime.combine(day, time(), ZoneInfo(zone)).timestamp()


class Meter(Protocol):
    """Totals by column, and when they fall."""

    totals: list[int]

    def wait(self, column: int, excess: float, now: float, wall: float) -> float | None:
        """Seconds until `excess` of the column's total has left."""
        ...


class Flight:
    """Calls that are under way."""

    def __init__(self) -> None:
        self.totals = [0] * 5

    def wait(self, column: int, excess: float, now: float, wall: float) -> float | None:
        return None

    def add(self, weights: Vector, sign: int = 1) -> None:
        _add(self.totals, weights, sign)


class Window(Flight):
    """The calls of a sliding window: those in flight, and a log of the acknowledged, oldest first, 48 bytes each."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self._at = array("d")
        self._columns = tuple(array("q") for _ in range(5))
        self._left, self._dropped = 0, 0

    def log(self, weights: Vector, now: float) -> int:
        """Where the call, counted already, is from now on: it leaves `seconds` later."""
        for column, weight in zip(self._columns, weights, strict=True):
            column.append(weight)
        self._at.append(max(now, self._at[-1]) if self._at else now)
        return self._dropped + len(self._at) - 1

    def correct(self, place: int, old: Vector, new: Vector) -> None:
        """The call at `place` (-1: in flight) weighs `new`; nothing happens where it has left."""
        index = place - self._dropped
        if place >= 0 and index < self._left:
            return
        if place >= 0:
            for column, weight in zip(self._columns, new, strict=True):
                column[index] = weight
        self.add(old, -1)
        self.add(new)

    def expire(self, now: float) -> None:
        at, left, latest = self._at, self._left, now - self.seconds
        while left < len(at) and at[left] <= latest:
            for number, column in enumerate(self._columns):
                self.totals[number] -= column[left]
            left += 1
        self._left = left
        if left > 64 and left * 4 > len(at):
            for column in (at, *self._columns):
                del column[:left]
            self._left, self._dropped = 0, self._dropped + left

    def wait(self, column: int, excess: float, now: float, wall: float) -> float | None:
        weights = self._columns[column]
        for index in range(self._left, len(weights)):
            excess -= weights[index]
            if excess <= 0:
                return self._at[index] + self.seconds - now
        return None


class Day:
    """The calls of the provider's day. Two clocks must say that it is over: the wall's, which people set, and the monotonic
    one, counted on from the first day. While they disagree, calls count on both sides of midnight."""

    def __init__(self) -> None:
        self.totals = [0] * 5
        self.number = 0
        self._zone, self._midnight, self._due = "", 0.0, 0.0
        self._tomorrow: list[int] | None = None

    def advance(self, zone: str, now: float, wall: float, flying: list[int]) -> None:
        """To the day of `now` and `wall`; `flying` is what was sent and not acknowledged: it counts on both sides."""
        if zone != self._zone:
            self._zone, self._midnight = zone, next_midnight(zone, wall)
            self._due = now + self._midnight - wall
        if wall < self._midnight and now < self._due:
            return
        if self._tomorrow is None:
            self._tomorrow = [*flying]
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

    def add(self, weights: Vector, sign: int, latest: int) -> None:
        """Count, or with `sign` -1 take back, a call that counts up to the day `latest`."""
        if latest >= self.number:
            _add(self.totals, weights, sign)
        if self._tomorrow is not None and latest > self.number:
            _add(self._tomorrow, weights, sign)

    def wait(self, column: int, excess: float, now: float, wall: float) -> float:
        return max(self._midnight - wall, self._due - now)


def _add(totals: list[int], weights: Vector, sign: int = 1) -> None:
    for number, weight in enumerate(weights):
        totals[number] += weight * sign
