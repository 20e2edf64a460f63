"""What one key has used, as rows of a SQLite file: the rules of `massgen.limiter.quotas` for several processes, between two commits."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple, cast

from massgen.limiter.quotas import Blocked, Limits
from massgen.limiter.stores.days import Day, shift
from massgen.limiter.stores.shared import TURN, Rule, add, longer, rules, soon
from massgen.limiter.windows import REQUESTS, Vector

SCHEMA = """
CREATE TABLE accounts (key TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE calls (ticket TEXT PRIMARY KEY, owner TEXT NOT NULL, key TEXT NOT NULL, vector TEXT NOT NULL,
    spent INTEGER NOT NULL, at REAL, day INTEGER) WITHOUT ROWID;
CREATE TABLE events (key TEXT, meter TEXT, at REAL, ticket TEXT, vector TEXT NOT NULL,
    PRIMARY KEY (key, meter, at, ticket)) WITHOUT ROWID;
CREATE TABLE waiters (key TEXT, owner TEXT, since REAL NOT NULL, until REAL NOT NULL, vector TEXT NOT NULL,
    PRIMARY KEY (key, owner)) WITHOUT ROWID;
"""
"""`calls` are not over; one that was acknowledged has an `at` and the number of its last `day`. `events` are the acknowledged
that still count in a window. `waiters` keep the turn of each process's next call `until` they should have asked again."""


class Call(NamedTuple):
    """A call that is not over."""

    ticket: str
    vector: Vector
    spent: bool
    at: float | None
    day: int

    @property
    def windows(self) -> tuple[str, ...]:
        return ("minute", "spend") if self.spent else ("minute",)


class Account:
    """What `key` has used. Nothing is written down before `save`, except in the same transaction."""

    def __init__(self, db: sqlite3.Connection, key: str) -> None:
        self._db, self._key, self._day = db, key, Day()
        self._totals: dict[str, list[int]] = {name: [0] * 5 for name in ("minute", "sent", "running", "spend")}
        self._seconds: dict[str, float] = {}
        self._held, self._held_wall, self._why = 0.0, 0.0, ""
        row = db.execute("SELECT state FROM accounts WHERE key = ?", (key,)).fetchone()
        if row:
            self._totals, day, (self._held, self._held_wall, self._why) = json.loads(row[0])
            self._day.restore(day)

    def save(self) -> None:
        state = json.dumps((self._totals, self._day.state(), (self._held, self._held_wall, self._why)))
        self._db.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?)", (self._key, state))

    def advance(self, limits: Limits, now: float, wall: float) -> None:
        self._seconds = {"minute": limits.minute_seconds, "spend": limits.cost_seconds}
        for meter, seconds in self._seconds.items():
            if self._totals[meter][REQUESTS]:
                self._expire((self._key, meter, now - seconds))
        self._day.advance(limits.day_zone, now, wall, self._totals["sent"])

    def restart(self, now: float, wall: float) -> None:
        """The monotonic clock began anew."""
        self._day.restart(now, wall)
        self._held = now + max(0.0, self._held_wall - wall)

    def count(self, owner: str, ticket: str, vector: Vector, *, spent: bool) -> None:
        """A call is under way from now on. Harmless when repeated."""
        row = (ticket, owner, self._key, json.dumps(vector), spent)
        if self._db.execute("INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?, ?, NULL, 0)", row).rowcount:
            for meter in ("minute", "sent", "running", *(["spend"] if spent else [])):
                shift(self._totals[meter], vector)
            self._day.add(vector, self._day.latest)

    def acked(self, ticket: str, at: float) -> Call | None:
        """The provider answered the call; None: it is unknown or over."""
        call = self._call(ticket)
        if call is None or call.at is not None:
            return call
        call = call._replace(at=at, day=self._day.latest)
        shift(self._totals["sent"], call.vector, -1)
        self._db.execute("UPDATE calls SET at = ?, day = ? WHERE ticket = ?", (at, call.day, ticket))
        for meter in call.windows:
            row = (self._key, meter, at, ticket, json.dumps(call.vector))
            self._db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", row)
        return call

    def finish(self, ticket: str, actual: Vector | None, at: float) -> None:
        call = self.acked(ticket, at)
        if call is None:
            return
        self._over(call)
        if actual is not None and actual != call.vector:
            self._correct(call, actual)

    def release(self, ticket: str) -> None:
        call = self._call(ticket)
        if call is None or call.at is not None:
            return self.finish(ticket, None, 0.0)
        self._over(call)
        for meter in ("sent", *call.windows):
            shift(self._totals[meter], call.vector, -1)
        return self._day.add(call.vector, self._day.latest, -1)

    def hold(self, seconds: float, dimension: str, now: float, wall: float) -> None:
        if now + seconds > self._held:
            self._held, self._held_wall, self._why = now + seconds, wall + seconds, dimension

    def use(self, limits: Limits) -> Mapping[str, tuple[float, float]]:
        return {rule.dimension: (self._used(rule) / rule.scale, rule.limit / rule.scale) for rule in rules(limits)}

    def check(self, owner: str, limits: Limits, vector: Vector, now: float, wall: float) -> Blocked | None:
        """Why a call must wait, if it must. Other processes that waited before keep their turn."""
        queue = self._queue(now)
        ahead, blocked = self._ahead(queue, owner), None
        for rule in rules(limits):
            used, column = self._used(rule), rule.column
            excess = used + ahead[column] + vector[column] - rule.limit
            if excess > 0:
                wait = self._wait(rule, excess, now, wall)
                blocked = longer(blocked, Blocked(rule.dimension, used / rule.scale, rule.limit / rule.scale, wait))
        if self._held > now:
            blocked = longer(blocked, Blocked(self._why or "hold", 0, 0, self._held - now))
        if blocked and blocked.wait is None and (ahead[REQUESTS] or self._others(owner)):
            blocked = replace(blocked, wait=soon(limits))
        if blocked:
            self._keep_turn(owner, vector, now)
        elif owner in queue:
            self._db.execute("DELETE FROM waiters WHERE key = ? AND owner = ?", (self._key, owner))
        return blocked

    def _queue(self, now: float) -> dict[str, Vector]:
        """Who waits for what, the first in turn first; whoever has not asked again in time has lost the turn."""
        query = "SELECT owner, until, vector FROM waiters WHERE key = ? ORDER BY since, owner"
        rows = self._db.execute(query, (self._key,)).fetchall()
        if any(until < now for _, until, _ in rows):
            self._db.execute("DELETE FROM waiters WHERE key = ? AND until < ?", (self._key, now))
        return {owner: json.loads(text) for owner, until, text in rows if until >= now}

    def _ahead(self, queue: Mapping[str, Vector], owner: str) -> Vector:
        """What the processes ask for whose turn is before the owner's."""
        total = (0, 0, 0, 0, 0)
        for _, vector in takewhile(lambda each: each[0] != owner, queue.items()):
            total = add(total, vector)
        return total

    def _keep_turn(self, owner: str, vector: Vector, now: float) -> None:
        self._db.execute(
            "INSERT INTO waiters VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET until = excluded.until, vector = excluded.vector",
            (self._key, owner, now, now + TURN, json.dumps(vector)),
        )

    def _others(self, owner: str) -> bool:
        """Whether calls of other processes are under way."""
        query = "SELECT 1 FROM calls WHERE key = ? AND owner <> ? LIMIT 1"
        return self._db.execute(query, (self._key, owner)).fetchone() is not None

    def _used(self, rule: Rule) -> int:
        totals = self._day.totals if rule.meter == "day" else self._totals[rule.meter]
        return totals[rule.column]

    def _wait(self, rule: Rule, excess: float, now: float, wall: float) -> float | None:
        """Seconds until `excess` has left; None: until a call in flight moves."""
        if rule.meter == "day":
            return self._day.wait(now, wall)
        query = "SELECT at, vector FROM events WHERE key = ? AND meter = ? ORDER BY at"
        for at, text in self._db.execute(query, (self._key, rule.meter)):
            excess -= json.loads(text)[rule.column]
            if excess <= 0:
                return at + self._seconds[rule.meter] - now
        return None

    def _expire(self, left: tuple[str, str, float]) -> None:
        """Forget the key's events in a meter up to a time."""
        rows = self._db.execute("SELECT vector FROM events WHERE key = ? AND meter = ? AND at <= ?", left).fetchall()
        for (text,) in rows:
            shift(self._totals[left[1]], json.loads(text), -1)
        if rows:
            self._db.execute("DELETE FROM events WHERE key = ? AND meter = ? AND at <= ?", left)

    def _correct(self, call: Call, actual: Vector) -> None:
        """The acknowledged call weighs `actual`, wherever it still counts."""
        query = "UPDATE events SET vector = ? WHERE key = ? AND meter = ? AND at = ? AND ticket = ?"
        for meter in call.windows:
            if self._db.execute(query, (json.dumps(actual), self._key, meter, call.at, call.ticket)).rowcount:
                shift(self._totals[meter], call.vector, -1)
                shift(self._totals[meter], actual)
        self._day.add(call.vector, call.day, -1)
        self._day.add(actual, call.day)

    def _call(self, ticket: str) -> Call | None:
        query = "SELECT vector, spent, at, day FROM calls WHERE ticket = ?"
        row = self._db.execute(query, (ticket,)).fetchone()
        return Call(ticket, cast(Vector, tuple(json.loads(row[0]))), bool(row[1]), row[2], row[3]) if row else None

    def _over(self, call: Call) -> None:
        shift(self._totals["running"], call.vector, -1)
        self._db.execute("DELETE FROM calls WHERE ticket = ?", (call.ticket,))
