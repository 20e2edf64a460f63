"""The tools of a recorded agent: what came of a use is given again, and nothing is used.

A log does not hold which tools there were, only those that were used: these are offered.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeAlias, cast

from massgen import prompts
from massgen.backends import Tool
from massgen.backends.conductor import NEVER
from massgen.events import Asked, Purpose, Recorded, ToolCalled, ToolReturned, TurnBegan, TurnFailed
from massgen.planning.tools import TOOLS
from massgen.toolbox import Offered, Returned

_PLANNING = frozenset(tool.name for tool in TOOLS)
"""They are used again: what they do follows from the plan alone."""
_CUT_OFF = Returned(prompts.CUT_OFF, is_error=True)
_LAST: tuple[Purpose, ...] = ("solo", "present")


@dataclass(frozen=True, slots=True)
class Used:
    """A recorded use of a tool, in a turn of that `purpose`; `question` is the `seq` of its question."""

    name: str
    arguments: Mapping[str, Any] | None
    """None if they were no JSON object: what the loop itself refuses, it refuses again, without the tool."""
    purpose: Purpose
    question: int
    place: int = NEVER
    """The `seq` of its result."""
    result: Returned = _CUT_OFF
    timed: bool = False
    """Whether there is none because time ran out."""


Reach: TypeAlias = Callable[[Used], Awaitable[bool]]
"""Waits until what a use came to may happen; whether it ever will."""


async def at_once(used: Used) -> bool:
    """For those who look at one turn alone."""
    return used.place != NEVER


def used(facts: Iterable[Recorded]) -> dict[str, list[Used]]:
    """By agent, in the order in which they were begun."""
    reading = _Reading()
    for recorded in facts:
        reading.add(recorded)
    return reading.made


@dataclass(slots=True)
class _Reading:
    made: dict[str, list[Used]] = field(default_factory=dict[str, list[Used]])
    open: dict[int, dict[str, list[int]]] = field(default_factory=dict[int, dict[str, list[int]]])
    """Places in `made` of those without a result, by turn and id."""
    purposes: dict[int, Purpose] = field(default_factory=dict[int, Purpose])
    question: int = 0

    def add(self, recorded: Recorded) -> None:
        match recorded.fact:
            case Asked():
                self.question = recorded.seq
            case TurnBegan(_, purpose):
                self.purposes[recorded.seq] = purpose
            case ToolCalled(_, _, _, name) as fact if name not in _PLANNING:
                self._begin(fact)
            case ToolReturned() as fact:
                if places := self.open.get(fact.turn, {}).get(fact.call):
                    result = Returned(fact.content, fact.is_error)
                    self._change(fact.agent, places.pop(0), place=recorded.seq, result=result)
            case TurnFailed(agent, turn, "timeout") | TurnFailed(agent, turn, _, "time ran out"):
                for place in chain.from_iterable(self.open.get(turn, {}).values()):
                    self._change(agent, place, timed=True)
            case _:
                pass

    def _begin(self, fact: ToolCalled) -> None:
        own, arguments = self.made.setdefault(fact.agent, []), _read(fact.arguments)
        if arguments is not None:
            self.open.setdefault(fact.turn, {}).setdefault(fact.call, []).append(len(own))
        own.append(Used(fact.name, arguments, self.purposes.get(fact.turn, "answer"), self.question))

    def _change(self, agent: str, number: int, **fields: Any) -> None:
        self.made[agent][number] = replace(self.made[agent][number], **fields)


@dataclass(slots=True)
class RecordedBox:
    """A toolbox of recorded `uses`, each of which is given once, and the last of equal ones as often as asked for."""

    uses: Sequence[Used]
    reach: Reach = at_once
    _given: set[int] = field(default_factory=set[int])

    async def offered(self) -> Sequence[Offered]:
        """As tools that are used one after the other; those of last turns alone are open in no other."""
        early = {used.name for used in self.uses if used.purpose not in _LAST}
        names = dict.fromkeys(used.name for used in self.uses)
        return [Offered(Tool(name, "", {"type": "object"}), "write", own=name in early) for name in names]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Returned:
        same = [place for place, used in enumerate(self.uses) if (used.name, used.arguments) == (name, arguments)]
        fresh = [place for place in same if place not in self._given]
        if not same:
            return Returned(f"The recording holds no such use of {name}.", is_error=True)
        place = (fresh or same[-1:])[0]
        self._given.add(place)
        use = self.uses[place]
        return use.result if await self.reach(use) else _CUT_OFF


def _read(arguments: str) -> Mapping[str, Any] | None:
    try:
        read = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, Any]", read) if isinstance(read, dict) else None
