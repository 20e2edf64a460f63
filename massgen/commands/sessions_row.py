"""A session among others: whether it is wanted, and what is told of it. Without the facts at hand, so that lists are fast."""

import datetime
import math
import time
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path, PurePath
from typing import Any, Self

import click

from massgen import sessions
from massgen.sessions.digest import Session, Status

WIDTH = 100
"""Cells of a terminal that a question, or a team, takes in a list."""


def latest(known: Iterable[Session]) -> list[Session]:
    """By when they were asked first, the latest first. Ids say it, too, but for folders that somebody has named anew."""
    return sorted(known, key=lambda each: (each.at, each.id), reverse=True)


def cut(text: str) -> str:
    """`text` in at most `WIDTH` cells, of which Chinese, Japanese and Korean signs and emoji take two."""
    ends = [*accumulate(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text[: WIDTH + 1])]
    return text if not ends or ends[-1] <= WIDTH else f"{text[: bisect_right(ends, WIDTH - 3)]}..."


def status_of(session: Session, folder: Path) -> Status:
    """As it is now: a session without an end has been interrupted, or is running."""
    return "running" if session.status == "interrupted" and sessions.running(folder) else session.status


@dataclass(frozen=True, slots=True)
class Row:
    """A session as it is now, to be told."""

    folder: Path
    session: Session
    name: str

    @classmethod
    def of(cls, root: Path, session: Session) -> Self:
        folder = root / session.id
        return cls(folder, replace(session, status=status_of(session, folder)), sessions.name(folder))

    @property
    def title(self) -> str:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.session.at))
        told = [at, self.session.status, self.session.price, _line(self.name)]
        return f"{_line(self.session.id)}  {', '.join(filter(None, told))}"

    @property
    def entry(self) -> str:
        session = self.session
        turns = f"; {session.turns} turns" if session.turns > 1 else ""
        return f"{self.title}\n  {cut(session.question)}\n  {_team(session.agents)}{turns}"

    @property
    def row(self) -> dict[str, Any]:
        """For programs."""
        session = self.session
        agents = [{"id": agent, "model": model} for agent, model in session.agents]
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(session.at))
        cost = session.cost if session.cost is not None and math.isfinite(session.cost) else None  # JSON has no other
        facts = {"id": session.id, "name": self.name, "at": at, "question": session.question, "agents": agents}
        ended = {"turns": session.turns, "status": session.status, "winner": session.winner, "cost": cost}
        asked = {"asked_in": [*session.folders], "templates": [*session.templates]}
        return {**facts, **ended, **asked, "folder": str(self.folder)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a session must be like to be listed."""

    text: str
    agent: str
    model: str
    status: str | None
    since: datetime.datetime | None
    until: datetime.datetime | None
    min_cost: float | None
    template: str
    """Whole, or its last part with or without the suffix."""
    folder: str
    """A working directory; those below it count."""

    def fits(self, session: Session, folder: Path) -> bool:
        """Whether it is; its name and whether it is running are looked up only where they matter."""
        models = " ".join(model for _, model in session.agents)
        return (
            (not self.agent or self.agent in dict(session.agents))
            and self.model.casefold() in models.casefold()
            and (self.min_cost is None or (session.cost or 0.0) >= self.min_cost)
            and self._in_time(session.at)
            and (not self.template or any(self.template in _names(each) for each in session.templates))
            and (not self.folder or any(_within(each, self.folder) for each in session.folders))
            and (not self.text or self.text.casefold() in f"{session.question}\n{sessions.name(folder)}".casefold())
            and (not self.status or self.status.replace("-", " ") == status_of(session, folder))
        )

    def _in_time(self, at: float) -> bool:
        when = datetime.datetime.fromtimestamp(at)
        return (self.since is None or self.since <= when) and (self.until is None or when < self.until)


class Until(click.DateTime):
    """A time, or a day, which means its end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime.datetime:
        time = super().convert(value, param, ctx)
        return min(time, _LAST) + datetime.timedelta(days=1) if "T" not in value else time


_LAST = datetime.datetime.max - datetime.timedelta(days=1)


def _team(agents: tuple[tuple[str, str], ...]) -> str:
    """As many as there is room for, one at least."""
    named = [f"{agent} ({model})" if model else agent for agent, model in agents]
    told = next((count for count in range(len(named), 1, -1) if len(", ".join(named[:count])) <= WIDTH), 1)
    more = len(named) - told
    return ", ".join(named[:told]) + (f" and {more} more" if more > 0 else "")


def _line(text: str) -> str:
    """What the user wrote, or an id, which is the name of a folder: on one line, and steering no terminal."""
    if text.isprintable():
        return text
    from massgen.streams import line  # 10 ms, for nearly nobody

    return line(text)


def _names(template: str) -> tuple[str, ...]:
    """What a template may be called: `@examples/x` and `folder/x.yaml` are `x`, too."""
    path = PurePath(template)
    return template, path.name, path.stem


def _within(folder: str, above: str) -> bool:
    return PurePath(folder).is_relative_to(above)
