"""A conversation that was held elsewhere, as facts: who answered, who voted for what, what was presented. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from massgen.events import (
    Answered,
    Asked,
    Ballot,
    Chosen,
    Fact,
    Member,
    Presented,
    Recorded,
    Stopped,
    TurnBegan,
    Voted,
    VotingOpened,
)
from massgen.state import State, apply

UNKNOWN = "unknown"
"""For a backend, or a winner, of which nothing is told."""
Why: TypeAlias = Literal[
    "consensus", "decided", "single agent", "voting skipped", "only answer", "all failed", "timeout"
]
End: TypeAlias = Literal["answered", "no answer", "all failed", "timeout", "interrupted"]


@dataclass(frozen=True, slots=True)
class Given:
    """An agent gave an answer. `at`, here and below: seconds since 1970."""

    agent: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Cast:
    """An agent voted for the answer of `author`: the first, the second, ...; 0 is the latest."""

    agent: str
    at: float
    author: str
    revision: int = 0
    reason: str = ""


Act: TypeAlias = Given | Cast


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and what is known of what came of it. `acts` in the order of time; without `final` there was no answer."""

    question: str
    at: float
    team: tuple[Member, ...] = ()
    acts: tuple[Act, ...] = ()
    winner: str = UNKNOWN
    final: str = ""
    ended: float = 0.0
    why: Why = "consensus"
    end: End = "answered"

    @property
    def roster(self) -> tuple[Member, ...]:
        """The team, and who else took part."""
        members = {each.id: each for each in self.team}
        others = [*(each.agent for each in self.acts), *([self.winner] if self.final else [])]
        others = others if others or members else [self.winner]
        return (
            *members.values(),
            *(Member(each, UNKNOWN, "") for each in dict.fromkeys(others) if each not in members),
        )


def facts_of(turns: Iterable[Turn]) -> tuple[list[Recorded], list[str]]:
    """What these turns would have recorded, and what of them could not be told."""
    made = _Facts()
    for turn in turns:
        made.turn(turn)
    return made.recorded, made.lost


@dataclass(slots=True)
class _Facts:
    """Those made so far, folded as they come, for later ones refer to them."""

    recorded: list[Recorded] = field(default_factory=list[Recorded])
    lost: list[str] = field(default_factory=list[str])
    state: State = field(default_factory=State)
    answers: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Of each agent in this turn."""

    def add(self, at: float, fact: Fact) -> int:
        """Never earlier than the fact before it."""
        last = self.recorded[-1].at if self.recorded else at
        recorded = Recorded(len(self.recorded) + 1, round(max(at, last), 3), fact)
        self.recorded.append(recorded)
        self.state = apply(self.state, recorded)
        return recorded.seq

    def turn(self, turn: Turn) -> None:
        self.answers = {}
        self.add(turn.at, Asked(turn.question, turn.roster))
        first = {each.agent: each for each in reversed(turn.acts)}
        for member in turn.roster:
            if isinstance(first.get(member.id), Given):
                self.add(turn.at, TurnBegan(member.id, "solo" if len(turn.roster) == 1 else "answer"))
        for act in turn.acts:
            if isinstance(act, Given):
                self._given(act)
            elif len(turn.roster) > 1:  # whoever is alone has no choice
                self._cast(act)
        self._end(turn)

    def _given(self, act: Given) -> None:
        seat = self.state.seats[act.agent]
        turn = seat.turn
        if turn is None and len(self.state.seats) == 1:
            turn = self.add(act.at, TurnBegan(act.agent, "solo"))
        elif turn is None and not self.state.voting_open and seat.answer is None:
            turn = self.add(act.at, TurnBegan(act.agent, "answer"))
        elif turn is None:
            turn = self._decide(act.agent, act.at, _labelled(self.state.entries))
        self.answers.setdefault(act.agent, []).append(self.add(act.at, Answered(act.agent, turn, act.text)))

    def _cast(self, act: Cast) -> None:
        given = self.answers.get(act.author, [])
        if not given:
            self.lost.append(f"{act.agent} voted for {act.author}, of whom there was no answer; left out")
            return
        choice = given[act.revision - 1] if 0 < act.revision <= len(given) else given[-1]
        shown = [tuple(choice if seq == given[-1] else seq for seq in entry) for entry in self.state.entries]
        turn = self._decide(act.agent, act.at, _labelled(shown))
        self.add(act.at, Voted(act.agent, turn, choice, act.reason))

    def _decide(self, agent: str, at: float, ballot: Ballot) -> int:
        if not self.state.voting_open:
            everybody = all(seat.answer for seat in self.state.seats.values())
            self.add(at, VotingOpened("all answered" if everybody else "patience ran out"))
        return self.add(at, TurnBegan(agent, "decide", ballot))

    def _end(self, turn: Turn) -> None:
        if not turn.final:
            self.add(turn.ended, Stopped("no answer" if turn.end == "answered" else turn.end))
            return
        if turn.winner not in self.answers:
            self._given(Given(turn.winner, turn.ended, turn.final))
        answer = self.answers[turn.winner][-1]
        why = "single agent" if len(self.state.seats) == 1 else turn.why
        self.add(turn.ended, Chosen(answer, self._tally(answer), why))
        self.add(turn.ended, Presented(turn.winner, self._presenting(turn, answer), turn.final))
        self.add(turn.ended, Stopped(turn.end))

    def _tally(self, answer: int) -> dict[int, int]:
        """The votes that count; answers that are equal stand together, the winner's under its own number."""
        entry = next(each for each in self.state.entries if answer in each)
        return {answer if seq == entry[0] else seq: votes for seq, votes in self.state.tally.items()}

    def _presenting(self, turn: Turn, answer: int) -> int | None:
        """The turn in which the final answer was written; None if the chosen one was taken as it stood."""
        if self.state.answers[answer].content.strip() == turn.final.strip():
            return None
        shown = sorted(self.state.entries, key=lambda entry: answer not in entry)
        return self.add(turn.ended, TurnBegan(turn.winner, "present", _labelled(shown)))


def _labelled(entries: Iterable[tuple[int, ...]]) -> Ballot:
    return {f"agent{number}": entry for number, entry in enumerate(entries, 1)}
