"""Where a run stands: a fold of its facts. Pure."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from massgen.events import (
    Answered,
    Asked,
    Ballot,
    Chosen,
    Evaluated,
    Informed,
    PlanChanged,
    Presented,
    Purpose,
    Recorded,
    Resumed,
    Spent,
    Stopped,
    Summarised,
    TurnBegan,
    TurnFailed,
    Voted,
    VotingOpened,
)
from massgen.messages import Media
from massgen.planning import Plan, changed

GONE = "it is not in the team that the session goes on with"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `key` is equal for answers that say the same in the same words."""

    seq: int
    agent: str
    content: str
    key: str


@dataclass(frozen=True, slots=True)
class Seat:
    """One agent's place in the team."""

    agent: str
    turn: int | None = None
    """Its open turn."""
    suspended: int | None = None
    """The turn that the run's interruption ended, to be taken up where it stopped."""
    purpose: Purpose = "answer"
    ballot: Ballot = field(default_factory=dict[str, tuple[int, ...]])
    """What it has been shown in its open turn."""
    labels: int = 0
    """How many labels that turn has used so far."""
    answer: int | None = None
    """Its current answer."""
    given: int = 0
    """How many answers it has given in this attempt."""
    vote: int | None = None
    """The answer it votes for, while the vote counts."""
    reason: str = ""
    """Why it voted so."""
    left: str = ""
    """Why it left the team; empty while it is in."""
    failed: str = ""
    """Why its last turn failed, until it is asked again; an interruption is no failure."""
    lost: tuple[str, ...] = ()
    """The tasks that were put back for that, in this question."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An earlier question of the conversation, and what came of it."""

    seq: int
    """Of its `Asked`."""
    question: str
    media: tuple[Media, ...] = ()
    answer: str = ""
    """The final answer; empty if there was none."""
    author: str = ""

    @property
    def size(self) -> int:
        """In characters, an image as the 4,000 that a thousand tokens are."""
        return len(self.question) + len(self.answer) + 4_000 * len(self.media)


@dataclass(frozen=True, slots=True)
class Spending:
    """What all model calls together used; `cost` in US dollars of those whose price is known, None if none is."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Where a run stands."""

    asked: Asked | None = None
    seq: int = 0
    """Of `asked`."""
    history: tuple[Exchange, ...] = ()
    """The conversation before that, earliest first, without what is in `summary`."""
    summary: str = ""
    seats: Mapping[str, Seat] = field(default_factory=dict[str, Seat])
    answers: Mapping[int, Answer] = field(default_factory=dict[int, Answer])
    """The current answers by `seq`, earliest first: one an agent at most."""
    authors: Mapping[int, str] = field(default_factory=dict[int, str])
    """Who gave each answer of this attempt, superseded ones included."""
    voting_open: bool = False
    chosen: Chosen | None = None
    presented: Presented | None = None
    evaluated: Evaluated | None = None
    restarts: int = 0
    previous: Presented | None = None
    """The final answer that was sent back, and with `feedback` what was wrong with it."""
    feedback: str = ""
    stopped: Stopped | None = None
    spent: Spending = Spending()
    plans: Mapping[str, Plan] = field(default_factory=dict[str, Plan])
    """Each agent's plan of tasks, and the team's under the empty name: they outlast a question."""

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The conversation with the last question."""
        if self.asked is None:
            return self.history
        final = self.presented or self.previous
        answer = (final.content, final.agent) if final else ()
        return (*self.history, Exchange(self.seq, self.asked.question, self.asked.media, *answer))

    @property
    def unfinished(self) -> bool:
        """Whether the question has come to no final answer, or has not been told to have."""
        ended = self.stopped is not None and self.stopped.why != "interrupted"
        return self.asked is not None and not (ended and self.presented)

    @property
    def oldest(self) -> tuple[Exchange, ...]:
        """The part of the conversation that is to be summarised: all but the last exchanges that fill half the window, once
        it is longer than that."""
        window = self.asked.window if self.asked else 0
        if not window or len(self.summary) + sum(each.size for each in self.history) <= window:
            return ()
        room, kept = window // 2, 0
        for each in reversed(self.history):
            room -= each.size
            if room < 0:
                break
            kept += 1
        return self.history[: len(self.history) - kept]

    @property
    def summary_room(self) -> int:
        """Characters that a summary may have: with half a window of exchanges it leaves room for the next ones."""
        return self.asked.window // 4 if self.asked else 0

    @property
    def living(self) -> list[Seat]:
        return [seat for seat in self.seats.values() if not seat.left]

    @property
    def alone(self) -> bool:
        """Whether the team is one agent."""
        return self.asked is not None and len(self.asked.roster) == 1

    @property
    def entries(self) -> list[tuple[int, ...]]:
        """The ballot's entries: answers equal after normalisation together, earliest first."""
        groups: dict[str, list[int]] = {}
        for answer in self.answers.values():
            groups.setdefault(answer.key, []).append(answer.seq)
        return [tuple(group) for group in groups.values()]

    @property
    def tally(self) -> dict[int, int]:
        """Counted votes per entry (named by its earliest answer)."""
        first = {seq: entry[0] for entry in self.entries for seq in entry}
        return dict(Counter(first[seat.vote] for seat in self.seats.values() if seat.vote is not None))

    @property
    def leader(self) -> int:
        """The entry with the most votes; of equals, the earliest."""
        tally = self.tally
        return max((entry[0] for entry in self.entries), key=lambda seq: (tally.get(seq, 0), -seq))


def apply(state: State, recorded: Recorded) -> State:
    """`state` after one more fact. Raises `LookupError` for one of somebody who is not there."""
    match recorded.fact:
        case Asked() | Resumed() | Summarised():
            return _conversation(state, recorded.seq, recorded.fact)
        case TurnBegan() | Informed() | Voted() | TurnFailed():
            return _turn(state, recorded.seq, recorded.fact)
        case Answered() as answered:
            return _answered(state, recorded.seq, answered)
        case Spent() | PlanChanged():
            return _counted(state, recorded.fact)
        case VotingOpened() | Chosen() | Presented() | Evaluated() | Stopped():
            return _milestone(state, recorded.fact)
        case _:
            return state


def _conversation(state: State, seq: int, fact: Asked | Resumed | Summarised) -> State:
    match fact:
        case Asked():
            return _asked(state, seq, fact)
        case Resumed():
            return _resumed(state, fact)
        case _:
            history = tuple(each for each in state.history if each.seq > fact.until)
            seat = replace(state.seats[fact.agent], turn=None)
            return replace(_seated(state, seat), history=history, summary=fact.content)


def _asked(state: State, seq: int, asked: Asked) -> State:
    seats = {member.id: Seat(member.id) for member in asked.roster}
    return State(asked=asked, seq=seq, history=state.exchanges, summary=state.summary, seats=seats, plans=state.plans)


def _resumed(state: State, resumed: Resumed) -> State:
    """Who is not in the new team leaves, but its answer and vote stay; what failed before may work now."""
    before = state.asked.roster if state.asked else ()
    seats = {
        name: replace(seat, turn=None, suspended=None, left=seat.left or GONE) for name, seat in state.seats.items()
    }
    for member in resumed.roster:
        seat = state.seats.get(member.id) or Seat(member.id)
        turn = (
            (seat.turn or seat.suspended) if member in before else None
        )  # another model did not say what that one said
        seats[member.id] = replace(seat, turn=turn, suspended=None, left="")
    asked = replace(state.asked, roster=resumed.roster, config=resumed.config) if state.asked else None
    return replace(state, asked=asked, seats=seats, stopped=None)


def _turn(state: State, seq: int, fact: TurnBegan | Informed | Voted | TurnFailed) -> State:
    seat = state.seats[fact.agent]
    match fact:
        case TurnBegan(_, purpose, ballot):
            seat = replace(
                seat, turn=seq, suspended=None, failed="", purpose=purpose, ballot=ballot, labels=len(ballot)
            )
        case Informed(_, _, ballot):
            seat = replace(seat, ballot=ballot, labels=max(seat.labels, *map(label_number, ballot)))
        case Voted(_, _, choice, reason):
            seat = replace(seat, turn=None, vote=choice if saw_all(state, seat.ballot) else None, reason=reason)
        case _:
            why = "" if fact.kind == "interrupted" else fact.cause or fact.kind
            left = "" if fact.kind == "cancelled" else why
            seat = replace(seat, turn=None, suspended=None if why else seat.turn, failed=why, left=left)
    return _seated(state, seat)


def _milestone(state: State, fact: VotingOpened | Chosen | Presented | Evaluated | Stopped) -> State:
    match fact:
        case VotingOpened():
            return replace(state, voting_open=True)
        case Chosen():
            return replace(state, chosen=fact, presented=None)
        case Presented(agent):
            return replace(_seated(state, replace(state.seats[agent], turn=None)), presented=fact)
        case Evaluated(agent):
            return _evaluated(_seated(state, replace(state.seats[agent], turn=None)), fact)
        case _:
            return replace(state, stopped=fact)


def _counted(state: State, fact: Spent | PlanChanged) -> State:
    match fact:
        case Spent():
            return replace(state, spent=_plus(state.spent, fact))
        case _:
            plan = changed(state.plans.get(fact.plan, Plan()), fact.change)
            seat = state.seats.get(fact.agent) if fact.turn is None else None
            after = replace(state, plans={**state.plans, fact.plan: plan})
            return _seated(after, replace(seat, lost=tuple(task.id for task in fact.tasks))) if seat else after


def _plus(total: Spending, spent: Spent) -> Spending:
    cost = total.cost if spent.cost is None else (total.cost or 0.0) + spent.cost
    tokens = (total.input_tokens + spent.input_tokens, total.output_tokens + spent.output_tokens)
    return Spending(total.calls + 1, *tokens, cost)


def _seated(state: State, seat: Seat) -> State:
    return replace(state, seats={**state.seats, seat.agent: seat})


def fold(facts: Iterable[Recorded]) -> State:
    """Where the run stands after `facts`."""
    state = State()
    for recorded in facts:
        state = apply(state, recorded)
    return state


def label_number(label: str) -> int:
    """The number in a ballot's label: `agent3` is 3. Raises `LookupError` for what is no label."""
    number = label.removeprefix("agent")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise LookupError(label[:40])
    return int(number)


def saw_all(state: State, ballot: Ballot) -> bool:
    """Whether `ballot` holds every current answer, so that a vote cast on it counts."""
    return state.answers.keys() <= {seq for entry in ballot.values() for seq in entry}


def _answered(state: State, seq: int, fact: Answered) -> State:
    seats = {name: replace(seat, vote=None) if seat.vote is not None else seat for name, seat in state.seats.items()}
    seat = seats[fact.agent]
    answers = {key: answer for key, answer in state.answers.items() if key != seat.answer}
    answers[seq] = Answer(seq, fact.agent, fact.content, normalised(fact.content))
    seats[fact.agent] = replace(seat, turn=None, answer=seq, given=seat.given + 1)
    return replace(state, seats=seats, answers=answers, authors={**state.authors, seq: fact.agent})


def _evaluated(state: State, fact: Evaluated) -> State:
    if fact.verdict == "submit":
        return replace(state, evaluated=fact)
    return State(
        asked=state.asked,
        seq=state.seq,
        history=state.history,
        summary=state.summary,
        seats={name: Seat(name, left=seat.left) for name, seat in state.seats.items()},
        restarts=state.restarts + 1,
        spent=state.spent,
        plans=state.plans,
        previous=state.presented,
        feedback=fact.instructions or fact.reason,
    )


def normalised(content: str) -> str:
    """`content` without differences of case, spacing, Unicode form and final full stop.

    NFC, not NFKC, which would make 10² and 102 the same."""
    return " ".join(unicodedata.normalize("NFC", content).casefold().split()).removesuffix(".").rstrip()
