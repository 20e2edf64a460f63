"""A run that goes on: where it stands, and what its open turns had come to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeAlias, TypeVar, cast

from massgen.errors import LogError
from massgen.events import (
    Answered,
    Asked,
    Ballot,
    Chosen,
    Evaluated,
    Fact,
    Informed,
    PlanChanged,
    Presented,
    Recorded,
    Reprompted,
    Resumed,
    Said,
    Spent,
    Stopped,
    Summarised,
    ToolCalled,
    ToolReturned,
    TurnBegan,
    TurnFailed,
    Voted,
    VotingOpened,
)
from massgen.log import Facts
from massgen.messages import Message
from massgen.state import Exchange, State, apply, label_number

T = TypeVar("T")

_EARLIER = (Asked, Resumed, Summarised, PlanChanged, Presented)
"""What is needed of the questions before the last."""
_FOLDED = (*_EARLIER, Answered, Chosen, Evaluated, Informed, Spent, Stopped, TurnBegan, TurnFailed, Voted, VotingOpened)


def standing(facts: Facts) -> State:
    """The fold of `facts`, by no more of them than it takes: of a long session, few. Raises `LogError` for facts that
    contradict each other, which no run records: who goes on by them could not."""
    last = max(0, facts.last(Asked))
    state, before = State(), list[Exchange]()  # in the state, every question would copy all that are before it
    for recorded in chain(facts.of(*_EARLIER, stop=last), facts.of(*_FOLDED, start=last)):
        try:
            _check(state, recorded.fact)
            state = apply(state, recorded)
        except LookupError as error:
            raise LogError(
                f"this fact does not belong to those before it: it speaks of {str(error)[:80]}",
                where=f"{facts.path}:{recorded.seq + 1}",
                fix="Nothing was changed. Restore the file from a copy, or cut it before this line to continue from there.",
            ) from None
        if isinstance(recorded.fact, Asked):
            before += state.history
            state = replace(state, history=())
        elif isinstance(recorded.fact, Summarised):
            until = recorded.fact.until
            before = [each for each in before if each.seq > until]
    return replace(state, history=tuple(before))


def _check(state: State, fact: Fact) -> None:
    """Raises `LookupError` for what is not there, or not labelled as it is on ballots."""
    match fact:
        case Informed(ballot=ballot) if not ballot:
            raise LookupError("no answer")
        case TurnBegan(_, _, ballot) | Informed(_, _, ballot):
            for label, entry in ballot.items():
                label_number(label)
                _ = [state.authors[seq] for seq in entry or (0,)]
        case Voted(choice=answer) | Chosen(answer=answer):
            _ = state.authors[answer]
        case _:
            pass


def last_run(facts: Facts) -> Sequence[Recorded]:
    """Those of the last question."""
    return facts[max(0, facts.last(Asked)) :]


Told: TypeAlias = Mapping[str, str] | Message | ToolCalled | ToolReturned | Reprompted
"""What an agent saw or said in its turn. A mapping: the answers as they had become."""


@dataclass(slots=True)
class Memory:
    """A turn so far: what its agent was shown, what a model said, and why that was refused. An agent that takes the turn up
    again is given the same, and so asks no model for what was paid for."""

    shown: Mapping[str, str]
    """The answers the turn began with, by label."""
    told: list[Told] = field(default_factory=list["Told"])
    """What followed."""
    _place: int = 0

    @property
    def over(self) -> bool:
        """Whether all of it has been given again."""
        return self._place == len(self.told)

    def add(self, item: Told) -> None:
        del self.told[self._place :]  # if the agent does not do again what it did, the rest has not happened
        self.told.append(item)
        self._place += 1

    def rewind(self) -> None:
        self._place = 0

    def news(self) -> Mapping[str, str] | None:
        """The answers as they had become, if that came next."""
        return cast("Mapping[str, str] | None", self.next(dict))

    def comes(self, kind: type[Any]) -> bool:
        """Whether a `kind` came next."""
        return not self.over and isinstance(self.told[self._place], kind)

    def next(self, kind: type[T]) -> T | None:
        """What came next, if it is a `kind`."""
        if not self.comes(kind):
            return None
        self._place += 1
        return cast("T", self.told[self._place - 1])


Texts: TypeAlias = Callable[[Ballot], Mapping[str, str]]
"""The answers on a ballot, by label."""


def remember(memories: dict[str, Memory], fact: Fact, texts: Texts) -> None:
    """Keep what `fact` says of its agent's turn."""
    match fact:
        case TurnBegan(agent, _, ballot):
            memories[agent] = Memory(texts(ballot))
        case Informed(agent, _, ballot):
            memories[agent].add(texts(ballot))
        case Said(agent, _, message):
            memories[agent].add(message)
        case ToolCalled(agent) | ToolReturned(agent) | Reprompted(agent):
            memories[agent].add(fact)
        case _:
            pass


def memories(state: State, facts: Facts) -> dict[str, Memory]:
    """Those of the turns that are open in `state`, or were when it was interrupted."""
    turns = {seat.turn or seat.suspended or 0 for seat in state.seats.values()} - {0}
    found: dict[str, Memory] = {}
    kinds = (TurnBegan, Informed, Said, ToolCalled, ToolReturned, Reprompted)
    for recorded in facts.of(*kinds, start=min(turns) - 1) if turns else ():
        match recorded.fact:
            case TurnBegan() if recorded.seq in turns:
                remember(found, recorded.fact, lambda ballot: _texts(ballot, facts))
            case Informed() | Said() | ToolCalled() | ToolReturned() | Reprompted() if recorded.fact.turn in turns:
                remember(found, recorded.fact, lambda ballot: _texts(ballot, facts))
            case _:
                pass
    return found


def _texts(ballot: Ballot, facts: Facts) -> Mapping[str, str]:
    """Answers that others have replaced since are in no state any more."""
    answers = {label: facts[entry[0] - 1].fact for label, entry in ballot.items()}
    return {label: fact.content for label, fact in answers.items() if isinstance(fact, Answered)}
