"""A plan in a file, which several processes may keep together.

The file is a log of changes, as a session's is: a change is one line, written at once, so whatever ends a process leaves a
whole plan. Each call opens the log alone, catches up with what others wrote, decides, records, and lets go of it.
"""

from pathlib import Path
from typing import Any, Literal, get_args

from massgen.errors import LogError, UsageError
from massgen.events import Fact, PlanChanged, Recorded
from massgen.log import Log
from massgen.log.facts_file import Facts
from massgen.planning import Change, Plan, changed
from massgen.planning import tools as planning_tools
from massgen.planning.tools import Outcome

TRIES = 20
"""How often a file that another process holds is tried: 2 s, of which each holds it for milliseconds."""
_OTHERS = tuple(kind for kind in get_args(Fact) if kind is not PlanChanged)


class PlanFile:
    """The plan at `path`, which need not exist; `scope` as of a `Plan`. It is tried `tries` times while another holds it."""

    def __init__(self, path: Path, scope: Literal["agent", "team"], *, tries: int = TRIES) -> None:
        self._path, self._empty, self._tries = path, Plan(scope=scope), tries
        self._plan, self._last = self._empty, None

    _last: Recorded | None
    """The last change that is in the plan."""

    def check(self) -> None:
        """Raises `LogError` or `UsageError` if it cannot be read and written; makes the file."""
        with self._opened():
            pass

    def call(self, agent: str, tool: str, arguments: Any) -> Outcome:
        """Use `tool`; raises as `check` does, and nothing has changed then."""
        with self._opened() as log:
            outcome = planning_tools.call(self._plan, tool, arguments, agent=agent, at=log.now())
            if change := outcome.change:
                self._fold(log.append(PlanChanged(agent, None, "", change.tasks, change.deleted, change.order)))
        return outcome

    def _opened(self) -> Log:
        log = self._alone()
        try:
            self._catch_up(log.facts)
        except BaseException:
            log.close()
            raise
        return log

    def _alone(self) -> Log:
        for _ in range(self._tries - 1):
            try:
                return Log(self._path)
            except LogError:  # held by another; anything else is found again below
                continue
        return Log(self._path)

    def _catch_up(self, facts: Facts) -> None:
        if facts.last(*_OTHERS) >= 0:
            raise UsageError("this is a session's log, no plan's", where=str(self._path), fix="Name another file.")
        seen = self._last.seq if self._last else 0
        if self._last and (len(facts) < seen or facts[seen - 1] != self._last):  # another file in its place
            self._plan, self._last, seen = self._empty, None, 0
        for recorded in facts[seen:]:
            self._fold(recorded)

    def _fold(self, recorded: Recorded) -> None:
        match recorded.fact:
            case PlanChanged(_, _, _, tasks, deleted, order):
                self._plan, self._last = changed(self._plan, Change(tasks, deleted, order)), recorded
            case fact:
                raise AssertionError(f"{fact} is no change of a plan")
