"""A recorded turn, taken again by the agent's own loop: what its model was asked, and what came of it.

The loop is shown what it was shown then, and given what its model said. A log of older prompts will do: what is asked for
is always what the code of today makes of the turn.
"""

import re
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from massgen.agents import Act, Agent, Tasks, Turn
from massgen.agents.calls import Retry
from massgen.agents.loop import LoopAgent
from massgen.agents.small import SmallAgent
from massgen.agents.tools import Tools
from massgen.backends import Backend, Request
from massgen.backends.conductor import NEVER
from massgen.backends.replay import Call, Failed, Outcome, Replied, Scored, chunks, scores, scoring
from massgen.errors import BackendError, MassgenError
from massgen.events import (
    Fact,
    Informed,
    Member,
    PlanChanged,
    Presented,
    Recorded,
    Reprompted,
    Retried,
    Said,
    Spent,
    ToolCalled,
    ToolReturned,
    TurnFailed,
    Voted,
    Waited,
)
from massgen.messages import Chunk, ToolCall, Waiting
from massgen.models import catalogue
from massgen.toolbox import Returned, Toolbox


async def _at_once(seconds: float) -> None:
    """Nobody waits before a recorded call is tried again."""


AT_ONCE = Retry(attempts=1_000, first=0.0, longest=sys.float_info.max, sleep=_at_once, jitter=lambda: 0.0)
"""Calls are tried again as often as they were, and say that they waited as long."""

_SCORE = re.compile(r"\((-?(?:\d+\.\d+|inf))\)$")
"""How the reason of a vote by likelihood ends."""
_TIME = "time ran out"


def small(member: Member) -> bool:
    """Whether `member` is, or replays, an embedded model, for which there is an agent of its own."""
    embedded = {model.name for model in catalogue()}
    return member.backend == "local" or (member.backend == "replay" and member.model in embedded)


def agent_like(member: Member, named: str, backend: Backend, own: str, sensitivity: str, box: Toolbox) -> Agent:
    """An agent of the kind that `member` is, with its `own` instructions and the tools in `box`."""
    if not small(member):
        return LoopAgent(named, backend, own, sensitivity, AT_ONCE, Tools(box))
    argues = any(model.name == member.model and model.votes == "json" for model in catalogue())
    return SmallAgent(named, backend, own, "json" if argues else "likelihood", AT_ONCE)


@dataclass(slots=True)
class Witness:
    """Stands for the model: notes what it is asked, and says what the turn's `past` holds. `heading` is a call of this turn
    of which nothing is known yet; `contents` are the answers by `seq`."""

    model: str
    heading: Call
    past: deque[Recorded]
    contents: Mapping[int, str]
    calls: list[Call] = field(default_factory=list[Call])

    def watch(self, agent: Agent, turn: Turn, plan: Tasks | None = None) -> Sequence[Call]:
        """What `agent` asks its model in `turn`, which is this witness. If it has a `plan`, where that stands is told as the turn
        begins; at its end, the past says whether that mattered."""
        stands = iter([plan] if plan else [])
        turn = replace(turn, tasks=lambda: next(stands, Tasks()), plan=self._plan if plan else None)
        taken = agent.turn(replace(turn, news=self._news, refusal=self._why))
        try:
            taken.send(None)  # all that it waits for is there, so it never does
        except (StopIteration, MassgenError):
            pass
        finally:
            taken.close()
        return self.calls

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        for chunk in chunks(self._asked(request)):
            yield chunk

    async def score(self, question: str, candidates: Sequence[str]) -> Sequence[float]:
        return scores(self._asked(scoring(question, candidates), candidates))

    async def aclose(self) -> None:
        """Nothing is held."""

    def _news(self) -> Mapping[str, str] | None:
        while isinstance(self._next, Reprompted | ToolCalled | ToolReturned | PlanChanged):
            self.past.popleft()
        match self._next:
            case Informed(_, _, ballot):
                self.past.popleft()
                return {label: self.contents[entry[0]] for label, entry in ballot.items()}
            case _:
                return None

    def _plan(self, call: ToolCall) -> tuple[PlanChanged | None, Returned]:
        """What came of a use of the plan. Raises `BackendError` if nothing did."""
        while self.past and not isinstance(self._next, Said):
            match self.past.popleft().fact:
                case ToolReturned(_, _, used, content, is_error) if used == call.id:
                    return None, Returned(content, is_error)
                case _:
                    pass
        raise BackendError(f"the recording holds no result of {call.name}")

    def _why(self, act: Act) -> str | None:
        return self._next.why if isinstance(self._next, Reprompted) else None

    @property
    def _next(self) -> Fact | None:
        return self.past[0].fact if self.past else None

    def _asked(self, request: Request, candidates: Sequence[str] = ()) -> Outcome:
        """Note the call, with what the past says next of one. Raises `BackendError` if that is a failure, or nothing."""
        call, waits = replace(self.heading, request=request), list[tuple[int, Waiting]]()
        while self.past and call.outcome is None:
            recorded = self.past.popleft()
            match recorded.fact:
                case Waited(_, _, dimension, used, limit, seconds):
                    place = NEVER if call.ended else recorded.seq  # a call that is cancelled tells it after its turn
                    waits.append((place, Waiting(dimension, seconds, used, limit, over=True)))
                case TurnFailed(_, _, kind, cause) if kind != "error":
                    call = replace(call, ended=f"{kind}, {cause}", timed=kind == "timeout" or cause == _TIME)
                case fact if outcome := self._outcome(fact, candidates):
                    call = replace(call, place=recorded.seq, outcome=outcome)
                case _:
                    pass
        self.calls.append(replace(call, waits=(*waits,), ended=call.ended or "there is none in its turn"))
        if call.outcome is None:
            raise BackendError(call.ended)
        return call.outcome

    def _outcome(self, fact: Fact, candidates: Sequence[str]) -> Outcome | None:
        match fact:
            case Said(_, _, message) if not candidates:
                spent = self.past.popleft().fact if isinstance(self._next, Spent) else None
                used = (spent.input_tokens, spent.output_tokens) if isinstance(spent, Spent) else ()
                return Replied(message, *used)
            case Spent() if candidates:
                return Scored(_scores(self._best, candidates))
            case Retried(_, _, cause, delay):
                return Failed(cause, transient=True, delay=delay)
            case TurnFailed(_, _, "error", cause):
                return Failed(cause)
            case _:
                return None

    @property
    def _best(self) -> tuple[str, float]:
        """The answer that its scores told for in the end, and its score where that is known."""
        for recorded in self.past:
            match recorded.fact:
                case Voted(_, _, choice, reason):
                    found = _SCORE.search(reason)
                    return self.contents[choice], float(found[1]) if found else 0.0
                case Presented(_, _, content):
                    return content, 0.0
                case _:
                    pass
        return "", 0.0


def _scores(best: tuple[str, float], candidates: Sequence[str]) -> tuple[float, ...]:
    """By which the `best` one is chosen again: a log holds no others."""
    content, score = best
    return tuple(score if each == content else -inf for each in candidates)
