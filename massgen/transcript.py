"""A session as one reads it afterwards: the turns of its conversation, their answers, votes, and what happened when.

A fold of the facts. Texts are as the models wrote them: whoever shows them makes them safe.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from massgen.errors import LogError
from massgen.events import (
    Answered,
    Asked,
    Chosen,
    Evaluated,
    Fact,
    Informed,
    Presented,
    Purpose,
    Recorded,
    Reprompted,
    Retried,
    Stopped,
    TurnBegan,
    TurnFailed,
    Voted,
    VotingOpened,
    Waited,
)
from massgen.view import WORTH_SHOWING, View, duration, summary

MAX_EVENTS = 1_000
"""Events of a turn that a document tells."""
MAX_HEADING = 200
"""Characters of the question in a heading."""
MAX_NOTE = 2_000
"""Characters of a reason or a cause in a document."""

Act: TypeAlias = Literal["answer", "vote", "final", "check", "failure", "unfinished"]

_ENDS: dict[type[Fact], Act] = {
    Answered: "answer",
    Voted: "vote",
    Presented: "final",
    Evaluated: "check",
    TurnFailed: "failure",
}
_ASKED: dict[Purpose, str] = {
    "solo": "was asked",
    "answer": "was asked for a first answer",
    "decide": "was asked to vote or to answer better",
    "present": "was asked for the final answer",
    "evaluate": "was asked to check the final answer",
}
_FAILED = {
    "error": "failed and left the team",
    "protocol": "gave no usable reply and left the team",
    "timeout": "took too long and left the team",
    "cancelled": "was no longer needed",
    "interrupted": "was interrupted",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `at`, here and below: seconds of running since the question."""

    id: int
    """The number of its fact."""
    author: str
    attempt: int
    """From 1; each restart begins the next."""
    revision: int
    """From 1: the author's how manyth answer of the attempt."""
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote. `counted`: it stood when its attempt ended; it does not once an answer comes that it has not seen."""

    voter: str
    answer: Answer
    reason: str
    at: float
    counted: bool = False

    @property
    def void(self) -> str:
        return "" if self.counted else " (not counted: another answer came)"


@dataclass(frozen=True, slots=True)
class Final:
    """A presented answer; `sent_back`: what the winner found wrong with it, None if it stands."""

    author: str
    at: float
    text: str
    sent_back: str | None = None

    @property
    def by(self) -> str:
        """Who gave it, when, and what became of it."""
        back = "" if self.sent_back is None else f", then sent back: {self.sent_back}"
        return f"By {self.author}, after {duration(self.at)}{back}"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, as `bob` `voted for alice`, and why; `agent` is empty where it was the team."""

    at: float
    agent: str
    what: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A turn of an agent, and what it ended in."""

    agent: str
    began: float
    ended: float
    act: Act


@dataclass(slots=True)
class Turn:
    """A question and all that came of it."""

    asked: Asked
    when: datetime
    view: View = field(default_factory=View)
    answers: dict[int, Answer] = field(default_factory=dict[int, Answer])
    votes: list[Vote] = field(default_factory=list[Vote])
    finals: list[Final] = field(default_factory=list[Final])
    events: list[Event] = field(default_factory=list[Event])
    spans: list[Span] = field(default_factory=list[Span])
    seconds: float = 0
    """Of running, until the last fact."""
    _began: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def final(self) -> Final | None:
        """The answer to the question."""
        return self.finals[-1] if self.finals and self.finals[-1].sent_back is None else None

    @property
    def facts(self) -> list[str]:
        """When it was, how it ended, and what it took."""
        count, media = len(self.asked.roster), [each.name or each.kind for each in self.asked.media]
        begun = f"{self.when:%Y-%m-%d %H:%M} UTC, {count} agent{'s' * (count != 1)}"
        given = [f"With {', '.join(media)}"] if media else []
        return [begun, *given, *summary(self.view, self.view.began + self.seconds)]

    @property
    def told(self) -> tuple[list[Event], str]:
        """The events that a document tells, and what it says of the rest."""
        left = len(self.events) - MAX_EVENTS
        return self.events[:MAX_EVENTS], f"{left:,} more events are in the session's log." if left > 0 else ""

    def given(self, agent: str) -> list[Answer]:
        return [answer for answer in self.answers.values() if answer.author == agent]

    def about(self, answer: Answer) -> str:
        """Which answer of its author it is, when it came, and who voted for it."""
        attempt = f", attempt {answer.attempt}" if self.view.state.restarts else ""
        voters = ", ".join(vote.voter for vote in self.votes if vote.answer.id == answer.id and vote.counted)
        votes = f"; votes: {voters}" if voters else ""
        return f"Answer {answer.revision}{attempt}, after {duration(answer.at)}{votes}"

    def add(self, recorded: Recorded) -> None:
        """Raises what Python raises where the fact contradicts those before it."""
        fact = recorded.fact
        if isinstance(fact, Evaluated) and fact.verdict == "restart":
            self._count()
        self.view.fact(recorded)
        if not math.isfinite(recorded.at + self.view.use.cost + self.view.use.waited):
            raise ValueError("a number is none")
        self.seconds = round(self.view.elapsed(recorded.at), 3)
        self._keep(recorded)
        self._span(fact)
        self.events += _events(self, fact)

    def close(self) -> None:
        self._count()
        self.spans += [Span(agent, began, self.seconds, "unfinished") for agent, began in self._began.items()]

    def _keep(self, recorded: Recorded) -> None:
        match recorded.fact:
            case Answered(agent, _, text):
                place = (self.view.state.restarts + 1, self.view.state.seats[agent].given)
                self.answers[recorded.seq] = Answer(recorded.seq, agent, *place, self.seconds, text)
            case Voted(agent, _, choice, reason):
                self.votes.append(Vote(agent, self.answers[choice], reason, self.seconds))
            case Presented(agent, _, text):
                self.finals.append(Final(agent, self.seconds, text))
            case Evaluated(verdict="restart") as sent:
                self.finals[-1] = replace(self.finals[-1], sent_back=sent.instructions or sent.reason)
            case _:
                pass

    def _span(self, fact: Fact) -> None:
        if isinstance(fact, TurnBegan):
            self._began[fact.agent] = self.seconds
        elif isinstance(fact, Answered | Voted | Presented | Evaluated | TurnFailed) and fact.agent in self._began:
            began = self._began.pop(fact.agent)
            self.spans.append(Span(fact.agent, began, self.seconds, _ENDS[type(fact)]))

    def _count(self) -> None:
        """Who votes still votes as they did last."""
        last = {vote.voter: place for place, vote in enumerate(self.votes)}
        for voter, place in last.items():
            if self.view.state.seats[voter].vote is not None:
                self.votes[place] = replace(self.votes[place], counted=True)


def turns(facts: Iterable[Recorded]) -> list[Turn]:
    """The questions of a session, one at least, the first one first.

    Raises `LogError` where there is none, and where a fact contradicts those before it."""
    found: list[Turn] = []
    for recorded in facts:
        try:
            if isinstance(recorded.fact, Asked):
                found.append(Turn(recorded.fact, datetime.fromtimestamp(recorded.at, UTC)))
            found[-1].add(recorded)
        except (LookupError, TypeError, ValueError, ArithmeticError, OSError) as error:  # OSError: a time beyond all
            kind = type(recorded.fact).__name__
            raise LogError(
                f"fact {recorded.seq} ({kind}) contradicts those before it: {str(error)[:200]}",
                fix="Nothing was changed. Restore the session's log from a copy.",
            ) from None
    for turn in found:
        turn.close()
    if not found:
        raise LogError("no question was asked in this session")
    return found


def _events(turn: Turn, fact: Fact) -> Iterator[Event]:
    at = turn.seconds
    match fact:
        case TurnBegan() | Informed() | Answered() | Voted() | TurnFailed():
            yield Event(at, fact.agent, *_of_agent(turn, fact))
        case Retried() | Reprompted():
            yield Event(at, fact.agent, *_trouble(fact))
        case Waited() if fact.seconds >= WORTH_SHOWING:
            yield Event(at, fact.agent, f"had waited {duration(fact.seconds)} for the limit {fact.dimension}")
        case VotingOpened() | Chosen() | Presented() | Evaluated() | Stopped():
            yield Event(at, *_milestone(turn, fact))
        case _:
            pass


def _of_agent(turn: Turn, fact: TurnBegan | Informed | Answered | Voted | TurnFailed) -> tuple[str, str]:
    """What the agent did, and why."""
    match fact:
        case TurnBegan(_, purpose):
            return _ASKED[purpose], ""
        case Informed():
            return "was shown new answers", ""
        case Answered(agent):
            return f"gave answer {turn.view.state.seats[agent].given}", ""
        case Voted(_, _, choice, reason):
            chosen = turn.answers[choice]
            return f"voted for {chosen.author}, answer {chosen.revision}", reason
        case TurnFailed(_, _, kind, cause):
            return _FAILED[kind], cause


def _trouble(fact: Retried | Reprompted) -> tuple[str, str]:
    if isinstance(fact, Retried):
        return f"had a call fail, sent again after {duration(fact.delay)}", fact.cause
    return "was asked again", fact.why


def _milestone(turn: Turn, fact: VotingOpened | Chosen | Presented | Evaluated | Stopped) -> tuple[str, str, str]:
    """Who (nobody: the team), what, why."""
    match fact:
        case VotingOpened(why):
            return "", "voting opened", why
        case Chosen(answer, _, why):
            chosen = turn.answers[answer]
            return "", f"answer {chosen.revision} of {chosen.author} was chosen", why
        case Presented(agent):
            return agent, "presented the final answer", ""
        case Evaluated(agent, _, verdict, reason, instructions):
            done = "approved the final answer" if verdict == "submit" else "sent the final answer back"
            return agent, done, instructions or reason
        case Stopped(why):
            return "", "the run ended", why
