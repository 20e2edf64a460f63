"""A session among others: whether it is wanted, and what is told of it. Without the facts at hand, so that lists are fast."""

import datetime
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Self

from massgen import sessions
from massgen.sessions.digest import Session, Status

WIDTH = 100
"""Characters of a question in a list."""


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
        told = [at, self.session.status, self.session.price, self.name]
        return f"{self.session.id}  {', '.join(filter(None, told))}"

    @property
    def entry(self) -> str:
        session = self.session
        question = session.question if len(session.question) <= WIDTH else f"{session.question[: WIDTH - 3]}..."
        team = ", ".join(f"{agent} ({model})" if model else agent for agent, model in session.agents)
        turns = f"; {session.turns} turns" if session.turns > 1 else ""
        return f"{self.title}\n  {question}\n  {team}{turns}"

    @property
    def row(self) -> dict[str, Any]:
        """For programs."""
        session = self.session
        agents = [{"id": agent, "model": model} for agent, model in session.agents]
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(session.at))
        facts = {"id": session.id, "name": self.name, "at": at, "question": session.question, "agents": agents}
        ended = {"turns": session.turns, "status": session.status, "winner": session.winner, "cost": session.cost}
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
        since = self.since.timestamp() if self.since else 0.0
        until = self.until
        if until and until.time() == datetime.time():  # a date means the whole day
            until += datetime.timedelta(days=1)
        return since <= at and (until is None or at < until.timestamp())


def _names(template: str) -> tuple[str, ...]:
    """What a template may be called: `@examples/x` and `folder/x.yaml` are `x`, too."""
    path = PurePath(template)
    return template, path.name, path.stem


def _within(folder: str, above: str) -> bool:
    return PurePath(folder).is_relative_to(above)
