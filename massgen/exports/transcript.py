"""A session as one reads it afterwards: the turns of its conversation, their answers, votes, and what happened when.

A fold of the facts. Texts are as the models wrote them: whoever shows them makes them safe.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from massgen.display.view import View, summary
from massgen.errors import LogError
from massgen.events import (
    Answered,
    Asked,
    Chosen,
    Evaluated,
    Fact,
    Informed,
    Member,
    PlanChanged,
    Presented,
    Purpose,
    Recorded,
    Reprompted,
    Resumed,
    Retried,
    Stopped,
    Summarised,
    ToolCalled,
    ToolReturned,
    TurnBegan,
    TurnFailed,
    Voted,
    VotingOpened,
    Waited,
)
from massgen.exports.parts import Act, Answer, Event, Final, Resumption, Span, Summary, ToolUses, Vote
from massgen.figures import WORTH_SHOWING, duration
from massgen.planning import Plan
from massgen.state import State

MAX_EVENTS = 1_000
"""Events of a turn that a document tells."""
MAX_HEADING = 200
"""Characters of the question in a heading."""
MAX_NOTE = 2_000
"""Characters of a reason or a cause in a document."""

_ENDS: dict[type[Fact], Act] = {
    Answered: "answer",
    Voted: "vote",
    Presented: "final",
    Evaluated: "check",
    Summarised: "summary",
    TurnFailed: "failure",
}
_ASKED: dict[Purpose, str] = {
    "solo": "was asked",
    "answer": "was asked for a first answer",
    "decide": "was asked to vote or to answer better",
    "present": "was asked for the final answer",
    "evaluate": "was asked to check the final answer",
    "summarise": "was asked to summarise the conversation before",
}
_FAILED = {
    "error": "failed and left the team",
    "protocol": "gave no usable reply and left the team",
    "timeout": "took too long and left the team",
    "cancelled": "was no longer needed",
    "interrupted": "was interrupted",
}


@dataclass(slots=True)
class Turn:
    """A question and all that came of it."""

    asked: Asked
    when: datetime
    numbers: Mapping[int, int] = field(default_factory=dict[int, int])
    """Of the questions until this one, from 1, by the `seq` of their facts."""
    view: View = field(default_factory=View)
    answers: dict[int, Answer] = field(default_factory=dict[int, Answer])
    votes: list[Vote] = field(default_factory=list[Vote])
    finals: list[Final] = field(default_factory=list[Final])
    events: list[Event] = field(default_factory=list[Event])
    spans: list[Span] = field(default_factory=list[Span])
    seconds: float = 0
    """Of running, until the last fact."""
    members: dict[str, Member] = field(default_factory=dict[str, Member])
    """All that took part, each as it was last."""
    resumptions: list[Resumption] = field(default_factory=list[Resumption])
    summaries: list[Summary] = field(default_factory=list[Summary])
    tools: ToolUses = field(default_factory=ToolUses)
    plans: dict[str, Plan] = field(default_factory=dict[str, Plan])
    """Those that changed since the question, as they stood at last; the team's under the empty name."""
    _began: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def final(self) -> Final | None:
        """The answer to the question."""
        return self.finals[-1] if self.finals and self.finals[-1].sent_back is None else None

    @property
    def number(self) -> int:
        """In the conversation, from 1."""
        return self.numbers.get(self.view.state.seq, 1)

    @property
    def facts(self) -> list[str]:
        """When it was, how it ended, and what it took."""
        count, media = len(self.members), [each.name or each.kind for each in self.asked.media]
        number = f"Question {self.number}, " if self.number > 1 else ""
        begun = f"{number}{self.when:%Y-%m-%d %H:%M} UTC, {count} agent{'s' * (count != 1)}"
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
        if isinstance(fact, PlanChanged):
            self.plans[fact.plan] = self.view.state.plans[fact.plan]
        self._span(fact)
        self.events += _events(self, fact)

    def close(self) -> None:
        self._count()
        for agent in [*self._began]:
            self._ended(agent, "unfinished")

    def _keep(self, recorded: Recorded) -> None:
        match recorded.fact:
            case Asked(roster=roster) | Resumed(roster=roster):
                self.members |= {member.id: member for member in roster}
                if isinstance(recorded.fact, Resumed):
                    self.resumptions.append(Resumption(self.seconds, self.view.change))
            case Summarised(agent, _, until, text):
                self.summaries.append(Summary(agent, self.seconds, self.numbers[until], text))
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
        match fact:
            case TurnBegan(agent):
                self._began[agent] = self.seconds
            case Resumed():
                self._taken_up()
            case TurnFailed(agent, _, "cancelled" | "interrupted"):
                self._ended(agent, "unfinished")
            case Answered() | Voted() | Presented() | Evaluated() | Summarised() | TurnFailed():
                self._ended(fact.agent, _ENDS[type(fact)])
            case _:
                pass

    def _ended(self, agent: str, act: Act) -> None:
        if (began := self._began.pop(agent, None)) is not None:
            self.spans.append(Span(agent, began, self.seconds, act))

    def _taken_up(self) -> None:
        """Turns that were interrupted begin again; those of a process that was killed go on, or have ended with it."""
        for agent, seat in self.view.state.seats.items():
            if seat.turn is None:
                self._ended(agent, "unfinished")
            else:
                self._began.setdefault(agent, self.seconds)

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
    numbers: dict[int, int] = {}
    for recorded in facts:
        try:
            if isinstance(recorded.fact, Asked):
                numbers[recorded.seq] = len(numbers) + 1
                view = View(State(plans=found[-1].view.state.plans) if found else State())
                found.append(Turn(recorded.fact, datetime.fromtimestamp(recorded.at, UTC), numbers, view))
            found[-1].add(recorded)
        except (LogError, LookupError, TypeError, ValueError, ArithmeticError, OSError) as error:  # a time beyond all
            kind, why = type(recorded.fact).__name__, error.what if isinstance(error, LogError) else str(error)
            raise LogError(
                f"fact {recorded.seq} ({kind}) contradicts those before it: {why[:200]}",
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
        case Resumed():
            yield Event(at, "", "the run went on", str(turn.view.change))
        case TurnBegan() | Informed() | Answered() | Voted() | TurnFailed() | Summarised():
            yield Event(at, fact.agent, *_of_agent(turn, fact))
        case ToolCalled() | ToolReturned():
            yield turn.tools.add(fact, at)
        case PlanChanged(agent):
            yield Event(at, agent, turn.view.planned)
        case Retried() | Reprompted():
            yield Event(at, fact.agent, *_trouble(fact))
        case Waited() if fact.seconds >= WORTH_SHOWING:
            yield Event(at, fact.agent, f"had waited {duration(fact.seconds)} for the limit {fact.dimension}")
        case VotingOpened() | Chosen() | Presented() | Evaluated() | Stopped():
            yield Event(at, *_milestone(turn, fact))
        case _:
            pass


def _of_agent(turn: Turn, fact: TurnBegan | Informed | Answered | Voted | TurnFailed | Summarised) -> tuple[str, str]:
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
        case Summarised():
            return f"summarised the conversation up to question {turn.summaries[-1].until}", ""
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
