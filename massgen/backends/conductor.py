"""Releases what a recording holds in the order in which it came, however many agents wait for it at once.

Replies that came in one breath, before the team could act on any of them, are released in one; all others only when
everything that follows from those before them has happened, which is when the event loop has nothing left to do.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

SETTLED = 20
"""Rounds of the event loop without a call after which nothing more follows from what was released; it takes under 10."""
NEVER = 1 << 62
"""The place of what the recording does not hold."""


Limit: TypeAlias = tuple[Literal["run", "patience", "turn"], str]
"""What time is for: the whole run, first answers, or the turn of an agent."""


@dataclass(frozen=True, slots=True)
class Breath:
    """What came at once: the places (`seq`) before `end` that are after the breath before, or the end of a limit's time."""

    end: int
    open: frozenset[str]
    """Who was at work then, and so waited for a reply."""
    question: int
    """The `seq` of the question it belongs to."""
    out: Limit | None = None
    sudden: bool = False
    """Whether the team had not acted since the breath before, and so may have had no time to."""


@dataclass(slots=True)
class _Waiting:
    place: int
    timed: bool
    told: "asyncio.Future[bool]"


@dataclass(slots=True)
class Conductor:
    """Shared by the agents of one run that replay one recording. `exact`: they are all of its team.

    A run that takes another way than the recording did gets each reply as soon as no earlier one is waited for."""

    breaths: Sequence[Breath]
    exact: bool = True
    _lost: bool = False
    """Whether the run takes another way by now."""
    _question: int = 0
    _at: int = 0
    _free: int = 0
    _waiting: dict[str, _Waiting] = field(default_factory=dict[str, _Waiting])
    _quiet: int = 0
    _watching: bool = False
    _limits: dict[Limit, tuple[asyncio.Timeout, float]] = field(
        default_factory=dict[Limit, tuple[asyncio.Timeout, float]]
    )
    """Those that hold now, and when their time is over if the run takes another way."""

    def limit(self, what: Literal["run", "patience", "turn"], agent: str, when: float | None) -> asyncio.Timeout:
        """A limit whose time is over when it was in the recording: at once, for nobody works meanwhile. In a run that takes
        another way: at `when`."""
        timeout = asyncio.timeout_at(when if self._lost else None)
        self._limits.pop((what, agent), None)
        if when is not None:
            self._limits[what, agent] = timeout, when
        return timeout

    async def reach(self, agent: str, place: int, *, question: int, timed: bool = False) -> bool:
        """Wait until what is at `place` may happen; False where it never will. `timed`: it ended when time ran out, so one
        waits until it does again."""
        self._skip_to(question)
        if place < self._free:
            return True
        waiting = _Waiting(place, timed, asyncio.get_running_loop().create_future())
        self._waiting[agent] = waiting
        self._stir()
        try:
            return await waiting.told
        finally:
            if self._waiting.get(agent) is waiting:
                del self._waiting[agent]
            self._stir()

    def _skip_to(self, question: int) -> None:
        """A run need not begin with the recording's first question."""
        if question <= self._question:
            return
        self._question, self._free, self._lost = question, max(self._free, question), False
        while self._at < len(self.breaths) and self.breaths[self._at].question < question:
            self._at += 1

    def _stir(self) -> None:
        self._quiet = 0
        if not self._watching:
            self._watching = True
            asyncio.get_running_loop().call_soon(self._watch)

    def _watch(self) -> None:
        self._quiet += 1
        if self._quiet < SETTLED:
            asyncio.get_running_loop().call_soon(self._watch)
            return
        self._watching = False
        if self._waiting:
            self._go_on()

    def _go_on(self) -> None:
        while self._at < len(self.breaths):
            breath = self.breaths[self._at]
            if self.exact and not self._lost and self._waiting.keys() != breath.open:
                self._lose()
            self._at, self._free = self._at + 1, max(self._free, breath.end)
            if self._run_out(breath.out) if breath.out else self._release():
                self._hurry(breath)
                self._stir()
                return
            self._lose()
        self._give_up()

    def _hurry(self, breath: Breath) -> None:
        """Let time run out that did so in the same instant: after a reply, or for several turns at once."""
        while self._at < len(self.breaths) and (also := self.breaths[self._at]).sudden and also.out:
            if (breath.out and breath.out[0] != also.out[0]) or not self._run_out(also.out):
                return
            breath, self._at = also, self._at + 1

    def _lose(self) -> None:
        """From here on it is another run, and the clock's."""
        self._lost = True
        for timeout, when in self._limits.values():
            _reschedule(timeout, when)
        self._limits.clear()

    def _run_out(self, limit: Limit | None) -> bool:
        """Whether there was such a limit, whose time is over now."""
        held = self._limits.pop(limit, None) if limit and not self._lost else None
        if held:
            _reschedule(held[0], 0.0)
        return held is not None

    def _release(self) -> bool:
        """Whether somebody waited for what is free now."""
        due = sorted((each for each in self._waiting.values() if each.place < self._free), key=lambda each: each.place)
        for waiting in due:
            _tell(waiting, True)
        return bool(due)

    def _give_up(self) -> None:
        """Nothing is left to put in order: whoever still waits does so in vain, or for time to run out."""
        self._lose()
        for waiting in [*self._waiting.values()]:
            if not waiting.timed:
                _tell(waiting, waiting.place != NEVER)


def _reschedule(timeout: asyncio.Timeout, when: float) -> None:
    with suppress(RuntimeError):  # it is over
        timeout.reschedule(when)


def _tell(waiting: _Waiting, answer: bool) -> None:
    if not waiting.told.done():
        waiting.told.set_result(answer)
