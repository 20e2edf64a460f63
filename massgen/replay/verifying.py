"""Holds a recorded session against the rules of the team. Pure.

What models said and when time ran out is taken from the log. What the rules decide must be equal: who is asked what and when,
what a ballot shows, which acts end a turn, when the vote opens, who is chosen and why, what is presented and when it stops.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from massgen.acts import Act, Final, NewAnswer, Verdict, Vote
from massgen.coordination import Ask, Rules, Step, cut_short, due, interrupted, patient, refusal, updated_ballot
from massgen.events import (
    Answered,
    Asked,
    Chosen,
    Evaluated,
    Fact,
    Informed,
    PlanChanged,
    Presented,
    Purpose,
    Recorded,
    Reprompted,
    Resumed,
    Retried,
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
    Waited,
)
from massgen.log.codec import encode
from massgen.replay.plan_checks import against, given
from massgen.state import Seat, State, apply, saw_all
from massgen.streams import line

WIDEST = 300
"""Characters of a fact that are told."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where log and rules part: at the fact `seq`, with what the log says and what the rules say."""

    seq: int
    log: str
    rules: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it: how many facts agree with the rules, the first that does not, and what is due after the last."""

    facts: int
    difference: Difference | None = None
    due: str = ""
    """Empty where the run has stopped."""


def verify(facts: Iterable[Recorded], rules: Callable[[Asked | Resumed], Rules]) -> Verified:
    """Run the coordination again over `facts`, from each question and each going on by the rules that `rules` finds for it."""
    rerun, count = _Rerun(rules), 0
    for recorded in facts:
        if why := rerun.follow(recorded):
            return Verified(count, Difference(recorded.seq, *_excerpts(_json(recorded.fact), why)))
        count += 1
    return Verified(count, due="" if rerun.state.stopped else rerun.next)


_ByAgent: TypeAlias = (
    Informed | Said | Spent | Retried | Reprompted | ToolCalled | ToolReturned | PlanChanged
    | Answered | Voted | TurnFailed | Presented | Evaluated | Summarised
)  # fmt: skip


_SHOWN_NONE: tuple[Purpose, ...] = ("solo", "answer", "summarise")
_ENDS: dict[type[Fact], Purpose] = {Presented: "present", Evaluated: "evaluate", Summarised: "summarise"}
"""What ends in one kind of turn alone."""


_FREE: Sequence[Sequence[Fact]] = ((),)


@dataclass(slots=True)
class _Rerun:
    """The orchestrator over again, as far as the log goes."""

    find: Callable[[Asked | Resumed], Rules]
    rules: Rules = field(default_factory=Rules)
    state: State = field(default_factory=State)
    bound: Sequence[Sequence[Fact]] = _FREE
    """What may be bound to follow: the rest of an ending that has begun, or nothing. The same fact can be the beginning of
    one, and what the rules want anyway."""
    acting: bool = False
    """Whether the last fact was the orchestrator's: it does all that is due before an agent can say anything more."""
    calls: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])
    """Calls of tools that have not returned, by turn and id."""

    def follow(self, recorded: Recorded) -> str:
        """What the rules say instead of the next fact; empty, and the fact is folded, if they agree."""
        why = self._judge(recorded.fact)
        if not why:
            self.state = apply(self.state, recorded)
        return why

    def _judge(self, fact: Fact) -> str:
        match fact:
            case Asked() | Resumed():
                return self._begun(fact)
            case Waited(agent):  # a call that is cancelled tells of it after its turn has ended
                return "" if agent in self.state.seats else f"there is no agent {agent} in the team"
            case TurnBegan() | VotingOpened() | Chosen() | Stopped():
                return self._decided(fact)
            case TurnFailed(_, _, "cancelled" | "interrupted") | Presented(turn=None) | PlanChanged(turn=None):
                return self._decided(fact)
            case TurnFailed() | Presented() | Informed() | Said() | Spent() | Retried() | Reprompted():
                return self._by_agent(fact)
            case ToolCalled() | ToolReturned() | PlanChanged() | Answered() | Voted() | Evaluated() | Summarised():
                return self._by_agent(fact)

    def _begun(self, fact: Asked | Resumed) -> str:
        if isinstance(fact, Asked) and interrupted(self.state, "interrupted", ""):
            return "the turns that are open are ended first"
        if isinstance(fact, Resumed) and not self.state.unfinished:
            return "there is nothing to go on with: " + (
                "the question has its final answer" if self.state.asked else self.next
            )
        self.rules, self.bound, self.acting = self.find(fact), _FREE, True
        return ""

    @property
    def next(self) -> str:
        """What the rules want now, in words."""
        if self.state.asked is None:
            return "a question is asked first"
        if self.state.stopped:
            return "the run has stopped"
        steps = due(self.state, self.rules) if self._free else self.bound[0]
        return self._told(steps[0]) if steps else "nothing is due before an agent at work has ended its turn"

    # --- what the orchestrator does ---

    def _decided(self, fact: Fact) -> str:
        if isinstance(fact, PlanChanged) and not fact.agent:
            return given(self.state, self.rules, fact)
        ways = [rest for step, rest in self._ways() if self._is(step, fact)]
        if not ways:
            return self.next
        self.bound, self.acting = ways, True
        return ""

    @property
    def _free(self) -> bool:
        """Whether the rules may decide, or it is an ending's turn."""
        return any(not rest for rest in self.bound)

    def _ways(self) -> Iterator[tuple[Step, Sequence[Fact]]]:
        """What may be recorded now, and what is then bound to follow: what is due, or what only time decides, which is the
        end of patience, of the run's time, and of the process."""
        if self.state.stopped or self.state.asked is None:
            return
        ends = [*self.bound, interrupted(self.state, "interrupted", "the process ended")]
        if self._free:
            ends += [
                cut_short(self.state),
                [*interrupted(self.state, "interrupted", "the run was stopped"), Stopped("interrupted")],
                [VotingOpened("patience ran out")] if patient(self.state, self.rules) else [],
            ]
            yield from ((step, ()) for step in due(self.state, self.rules)[:1])
        yield from ((facts[0], facts[1:]) for facts in ends if facts)

    def _is(self, step: Step, fact: Fact) -> bool:
        match step, fact:
            case Ask(), TurnBegan():
                return (fact.agent, fact.purpose) == (step.agent, step.purpose) and self._fair(fact)
            case _:
                return step == fact

    def _fair(self, fact: TurnBegan) -> bool:
        """Whether it shows every current answer once, in whatever order: that was shuffled. Before its first, none."""
        if fact.purpose in _SHOWN_NONE:
            return not fact.ballot
        labels, shown = [f"agent{number}" for number in range(1, len(fact.ballot) + 1)], [*fact.ballot.values()]
        whole = [*fact.ballot] == labels and sorted(shown) == sorted(self.state.entries)
        chosen = self.state.chosen
        return whole and (fact.purpose != "present" or (chosen is not None and chosen.answer in shown[0]))

    def _told(self, step: Step) -> str:
        if not isinstance(step, Ask):
            return _json(step)
        shown = "no answer"
        if step.purpose not in _SHOWN_NONE:
            shown = ", ".join(" with ".join(map(str, entry)) for entry in self.state.entries)
            shown = f"every current answer ({shown}; answers that say the same stand together)"
            shown += ", the winner's first" if step.purpose == "present" else ""
        return f"TurnBegan: {step.agent} is asked ({step.purpose}) and shown {shown}"

    # --- what an agent does ---

    def _by_agent(self, fact: "_ByAgent") -> str:
        if not self._free or (self.acting and due(self.state, self.rules)):
            return self.next
        self.acting = False
        seat = self.state.seats.get(fact.agent)
        if seat is None or seat.turn is None or seat.turn != fact.turn:
            return f"{fact.agent} has no open turn {fact.turn}: {self.next}"
        return self.next if self.state.stopped else self._done(seat, fact)

    def _done(self, seat: Seat, fact: "_ByAgent") -> str:
        """What is wrong with what the agent did in its open turn."""
        match fact:
            case Informed():
                return self._informed(seat, fact)
            case Presented() | Evaluated() | Summarised() if seat.purpose != _ENDS[type(fact)]:
                return f"a turn with the purpose {seat.purpose} cannot end so"
            case Summarised():
                return self._summarised(fact)
            case ToolCalled() | ToolReturned():
                return self._used(fact)
            case PlanChanged():
                return against(self.state, self.rules, fact)
            case _:
                act = _act(seat, fact)
                return refusal(self.state, self.rules, fact.agent, act) or "" if act else ""

    def _summarised(self, fact: Summarised) -> str:
        """All that is to be summarised, in no more characters than it may have."""
        if not fact.content.strip():
            return refusal(self.state, self.rules, fact.agent, Final("")) or ""
        content = fact.content[: self.state.summary_room]
        right = replace(fact, until=self.state.oldest[-1].seq, content=content)
        return "" if right == fact else _json(right)

    def _used(self, fact: ToolCalled | ToolReturned) -> str:
        """Each use of a tool returns once at most."""
        use = (fact.turn, fact.call)
        if isinstance(fact, ToolReturned) and not self.calls[use]:
            return f"no use of a tool with the id {fact.call} is open in the turn {fact.turn}"
        self.calls[use] += 1 if isinstance(fact, ToolCalled) else -1
        return ""

    def _informed(self, seat: Seat, fact: Informed) -> str:
        if seat.purpose != "decide" or saw_all(self.state, seat.ballot):
            return f"there is nothing that {fact.agent} has not seen"
        current = updated_ballot(self.state, seat)
        same = [*current.items()] == [*fact.ballot.items()]
        return "" if same else _json(Informed(fact.agent, fact.turn, current))


def _act(seat: Seat, fact: "_ByAgent") -> Act | None:
    """What ended the turn of `seat`, if `fact` is such an end."""
    match fact:
        case Answered(_, _, content):
            return Final(content) if seat.purpose == "solo" else NewAnswer(content)
        case Voted(_, _, choice, reason):
            labels = (label for label, entry in seat.ballot.items() if choice == entry[0])
            return Vote(next(labels, f"number {choice}"), reason)
        case Presented(_, _, content):
            return Final(content)
        case Evaluated():
            return Verdict(fact.verdict, fact.reason, fact.instructions)
        case _:
            return None


def _json(fact: Fact) -> str:
    return json.dumps(encode(fact), ensure_ascii=False)


def _excerpts(log: str, rules: str) -> tuple[str, str]:
    """Both as lines that show where they begin to differ."""
    pairs = zip(log, rules, strict=False)
    same = next((place for place, (one, other) in enumerate(pairs) if one != other), 0)
    start = max(0, same - WIDEST // 2)
    return line(log[start:], WIDEST), line(rules[start:], WIDEST)
