"""Releases what a recording holds in the order in which it came, however many agents wait for it at once.

Replies that came in one breath, before the team could act on any of them, are released in one; all others only when
everything that follows from those before them has happened, which is when the event loop has nothing left to do.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

SETTLED = 20
"""Rounds of the event loop without a call after which nothing more follows from what was released; it takes under 10."""
NEVER = 1 << 62
"""The place of what the recording does not hold."""


@dataclass(frozen=True, slots=True)
class Breath:
    """What came at once: the places (`seq`) before `end` that are after the breath before."""

    end: int
    open: frozenset[str]
    """Who was at work then, and so waited for a reply."""
    timed: bool
    """Whether time ran out just before: patience, or a turn's."""
    question: int = 0
    """The `seq` of the question it belongs to."""


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
                if breath.timed:
                    return  # once it has run out again, others are at work
                self._lost = True
            self._at, self._free = self._at + 1, max(self._free, breath.end)
            if self._release():
                return
            self._lost = True
        self._give_up()

    def _release(self) -> bool:
        """Whether somebody waited for what is free now."""
        due = sorted((each for each in self._waiting.values() if each.place < self._free), key=lambda each: each.place)
        for waiting in due:
            _tell(waiting, True)
        return bool(due)

    def _give_up(self) -> None:
        """Nothing is left to put in order: whoever still waits does so in vain, or for time to run out."""
        for waiting in [*self._waiting.values()]:
            if not waiting.timed:
                _tell(waiting, waiting.place != NEVER)


def _tell(waiting: _Waiting, answer: bool) -> None:
    if not waiting.told.done():
        waiting.told.set_result(answer)
