"""What counts calls: sliding windows, days in a provider's zone, calls under way. Pure; O(1) amortised a call.

Five amounts of a call are counted together, packed into one whole number of `BITS` each: an addition adds them all.
"""

from array import array
from datetime import datetime, time, timedelta
from math import inf
from typing import Protocol, TypeAlias
from zoneinfo import ZoneInfo

Vector: TypeAlias = tuple[int, int, int, int, int]
"""What a call weighs: 1 request, input tokens, output tokens, both, and billionths of a dollar."""

REQUESTS, INPUT, OUTPUT, TOTAL, NANO = range(5)
BITS = 64
MASK = 2**BITS - 1
ASLEEP = 7200.0
"""Seconds by which a clock is never merely set wrong: beyond, the machine slept while the monotonic clock stood still."""


def column(total: int, number: int) -> int:
    """One of the five amounts that are packed in `total`."""
    return (total >> BITS * number) & MASK


def next_midnight(zone: str, wall: float) -> float:
    """The epoch seconds at which the day of `wall` ends in `zone`; a midnight that a clock change skips is that change."""
    day = datetime.fromtimestamp(wall, ZoneInfo(zone)).date() + timedelta(days=1)
    return datetime.combine(day, time(), ZoneInfo(zone)).timestamp()


class Meter(Protocol):
    """A packed total, and when it falls."""

    total: int

    def wait(self, number: int, excess: int, now: float, wall: float) -> float | None:
        """Seconds until `excess` of that amount has left; None: until a call in flight moves."""
        ...


class Flight:
    """Calls that are under way."""

    def __init__(self) -> None:
        self.total = 0

    def wait(self, number: int, excess: int, now: float, wall: float) -> float | None:
        return None


class Window:
    """The calls of a sliding window: those in flight, and a log of the acknowledged, oldest first."""

    def __init__(self, seconds: float) -> None:
        self.total = 0
        self.due = inf
        """When the next call leaves."""
        self._seconds = seconds
        self._at, self._weights = array("d"), list[int]()
        self._left, self._dropped = 0, 0

    def resize(self, seconds: float) -> None:
        self._seconds = seconds
        self.expire(-inf)

    def log(self, heavy: int, now: float) -> int:
        """Where the call, counted already, is from now on: it leaves one window later."""
        at = self._at
        if at and at[-1] > now:
            now = at[-1]
        if self._left == len(at):
            self.due = now + self._seconds
        at.append(now)
        self._weights.append(heavy)
        return self._dropped + len(at) - 1

    def correct(self, place: int, change: int) -> None:
        """The call at `place` weighs so much more; nothing happens where it has left."""
        index = place - self._dropped
        if index >= self._left:
            self._weights[index] += change
            self.total += change

    def expire(self, now: float) -> None:
        at, left, latest = self._at, self._left, now - self._seconds
        while left < len(at) and at[left] <= latest:
            self.total -= self._weights[left]
            left += 1
        self.due = at[left] + self._seconds if left < len(at) else inf
        self._left = left
        if left > 64 and left * 4 > len(at):
            del at[:left], self._weights[:left]
            self._left = 0
            self._dropped += left

    def wait(self, number: int, excess: int, now: float, wall: float) -> float | None:
        for index in range(self._left, len(self._at)):
            excess -= column(self._weights[index], number)
            if excess <= 0:
                return self._at[index] + self._seconds - now
        return None


class Day:
    """The calls of the provider's day. Two clocks must say that it is over: the wall's, which people set, and the monotonic
    one, counted on from the first day. While they disagree, calls count on both sides of midnight, as do those in flight."""

    def __init__(self, flying: Flight) -> None:
        self._flying = flying
        self.total = 0
        self.number = 0
        self.midnight, self.due = -inf, -inf
        """The day's end by the wall's clock and by the monotonic one."""
        self._zone = ""
        self.tomorrow: int | None = None
        """Its total already, while the clocks disagree."""

    def settle(self, zone: str) -> None:
        """Days are those of `zone` from now on."""
        if zone != self._zone:
            self._zone = zone
            self.midnight = -inf

    def advance(self, now: float, wall: float) -> None:
        """To the day of `now` and `wall`."""
        if self.midnight == -inf:
            self.midnight = next_midnight(self._zone, wall)
            self.due = now + self.midnight - wall
        if wall < self.midnight and now < self.due:
            return
        if self.tomorrow is None:
            self.tomorrow = self._flying.total
        slept = wall >= self.midnight + ASLEEP
        if slept or (wall >= self.midnight and now >= self.due):
            self.total, self.tomorrow = self.tomorrow, None
            self.number += 1
            ends = next_midnight(self._zone, wall if slept else self.midnight)
            self.due = now + ends - wall if slept else self.due + ends - self.midnight
            self.midnight = ends

    def count(self, heavy: int) -> None:
        """A call of this moment; a negative one is given back."""
        self.total += heavy
        if self.tomorrow is not None:
            self.tomorrow += heavy

    def correct(self, heavy: int, latest: int) -> None:
        """A call that counts up to the day `latest` weighs so much more."""
        if latest >= self.number:
            self.total += heavy
        if self.tomorrow is not None and latest > self.number:
            self.tomorrow += heavy

    def wait(self, number: int, excess: int, now: float, wall: float) -> float | None:
        staying = self._flying.total if self.tomorrow is None else self.tomorrow
        if column(self.total - staying, number) < excess:
            return None
        return max(self.midnight - wall, self.due - now)
