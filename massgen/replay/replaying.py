"""A recorded session as something that happens again: its facts, and what streamed before them, each after a wait. Pure.

What streamed is not in the log, but the message that came of it is: that is shown in pieces over the time its call took.
"""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf

from massgen.events import Asked, Chosen, Fact, Recorded, Resumed, Retried, Said, Stopped, VotingOpened, Waited
from massgen.messages import Chunk, Message, Text, TextDelta, ToolCall, ToolCallDelta, Waiting

LONGEST = 2.0
"""Seconds that a pause between two facts is shown at most."""
PIECES = 40
"""In how many pieces of equal size a message streams."""
SHORTEST = 8
"""Characters of a piece, at least."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of what an agent streamed, or a wait of its."""

    agent: str
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Moment:
    """Something to show, `wait` seconds after what came before it; `at` is the log's time then."""

    wait: float
    at: float
    shown: Recorded | Delta


def moments(facts: Sequence[Recorded], speed: float) -> Iterator[Moment]:
    """What to show when, at `speed` times the speed it had; infinite: the facts alone, at once."""
    if speed == inf:
        yield from (Moment(0.0, recorded.at, recorded) for recorded in facts)
        return
    before = 0.0
    for moment in _timeline(facts):
        yield Moment((moment.time - before) / speed, moment.at, moment.shown)
        before = moment.time


@dataclass(frozen=True, slots=True)
class _Placed:
    """`time`: seconds into the replay. `seq`: of the fact itself, or of that which a delta belongs before."""

    time: float
    seq: int
    at: float
    shown: Recorded | Delta

    @property
    def place(self) -> tuple[float, int]:
        return self.time, self.seq


def _timeline(facts: Sequence[Recorded]) -> Iterator[_Placed]:
    lanes: dict[str, list[_Placed]] = {}
    placed = [_Placed(time, each.seq, each.at, each) for time, each in zip(_played(facts), facts, strict=True)]
    for fact, each in zip(facts, placed, strict=True):
        if agent := _agent(fact.fact):
            lanes.setdefault(agent, []).append(each)
        elif isinstance(fact.fact, Resumed):  # what comes of a turn that is taken up again streams from here on
            for lane in lanes.values():
                lane.append(each)
    times = [each.time for each in placed]
    deltas = (_streamed(agent, lane, lambda time: _logged(placed, times, time)) for agent, lane in lanes.items())
    return heapq.merge(*deltas, placed, key=lambda each: each.place)


def _played(facts: Sequence[Recorded]) -> Iterator[float]:
    """When each fact is shown, in seconds from the first."""
    time = 0.0
    yield from (time for _ in facts[:1])
    for one, other in pairwise(facts):
        time += max(0.0, min(LONGEST, other.at - one.at))
        yield time


def _logged(placed: Sequence[_Placed], times: Sequence[float], time: float) -> float:
    """The log's time at a `time` of the replay."""
    place = min(bisect_right(times, time), len(times) - 1)
    one, other = placed[max(0, place - 1)], placed[place]
    share = (time - one.time) / (other.time - one.time) if other.time > one.time else 1.0
    return one.at + (other.at - one.at) * share


def _agent(fact: Fact) -> str:
    return "" if isinstance(fact, Asked | Resumed | VotingOpened | Chosen | Stopped) else fact.agent


def _streamed(agent: str, lane: Sequence[_Placed], logged: Callable[[float], float]) -> Iterator[_Placed]:
    """What streamed before each fact of an agent: between that and the fact of its, or the going on, before it."""
    for one, other in pairwise(lane):
        lasted = max(0.0, other.at - one.at)
        for share, chunk in _chunks(_fact(one), _fact(other), lasted):
            time = min(other.time, one.time + (other.time - one.time) * share)
            yield _Placed(time, other.seq, logged(time), Delta(agent, chunk))


def _fact(placed: _Placed) -> Fact | None:
    return placed.shown.fact if isinstance(placed.shown, Recorded) else None


def _chunks(one: Fact | None, other: Fact | None, lasted: float) -> Iterator[tuple[float, Chunk]]:
    """What came before `other`, each with the share of the time since `one` that had passed."""
    match other:
        case Waited(_, _, dimension, used, limit, seconds):
            yield 0.0, Waiting(dimension, seconds, used, limit)
            yield 1.0, Waiting(dimension, seconds, used, limit, over=True)
        case Said(_, _, message) if message.role == "assistant":
            paused = min(1.0, one.delay / lasted) if isinstance(one, Retried) and lasted else 0.0
            pieces = [*_pieces(message)]
            for number, piece in enumerate(pieces, 1):
                yield paused + (1 - paused) * number / (len(pieces) + 1), piece
        case _:
            pass


def _pieces(message: Message) -> Iterator[Chunk]:
    whole = sum(len(call.arguments) for call in message.tool_calls) + len(message.text)
    size = max(SHORTEST, ceil(whole / PIECES))
    calls = 0
    for part in message.parts:
        match part:
            case Text(text):
                yield from (TextDelta(text[start : start + size]) for start in range(0, len(text), size))
            case ToolCall(call, name, arguments):
                yield ToolCallDelta(calls, call, name, arguments[:size])
                rest = range(size, len(arguments), size)
                yield from (ToolCallDelta(calls, arguments=arguments[start : start + size]) for start in rest)
                calls += 1
            case _:
                pass
