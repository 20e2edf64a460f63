"""What a person follows of a run: a fold of its facts and streamed chunks. Every text in it is safe to print."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from massgen.display.lanes import Lane
from massgen.events import (
    Answered,
    Asked,
    Evaluated,
    PlanChanged,
    Presented,
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
    Waited,
)
from massgen.figures import WORTH_SHOWING, Use, duration, money, waiting
from massgen.messages import Chunk, ReasoningDelta, TextDelta, ToolCallDelta, Waiting
from massgen.plan_words import Standing, news, standing
from massgen.planning import Plan
from massgen.rosters import Change, change
from massgen.state import GONE, State, apply
from massgen.streams import KEEP, line, safe

Phase: TypeAlias = Literal["summarising", "answering", "voting", "presenting", "done"]
Mood: TypeAlias = Literal[
    "waiting", "thinking", "retrying", "answered", "voted", "presenting", "checking", "failed", "dropped", "done",
    "summarising", "left", "using",
]  # fmt: skip
_Ending: TypeAlias = Answered | Voted | TurnFailed | Presented | Evaluated | Summarised
_DOING: dict[str, Mood] = {"present": "presenting", "evaluate": "checking", "summarise": "summarising"}


@dataclass(slots=True)
class View:
    """The last question as a person follows it. Texts are bounded, so its size does not grow with the length of the streams."""

    state: State = field(default_factory=State)
    lanes: dict[str, Lane] = field(default_factory=dict[str, Lane])
    use: Use = field(default_factory=Use)
    question: str = ""
    began: float = 0
    ended: float | None = None
    change: Change = field(default_factory=Change)
    """Of the team, when the run last went on."""
    plans: dict[str, Standing] = field(default_factory=dict[str, Standing])
    """Those that are not over, or have changed since the question; the team's under the empty name."""
    planned: str = ""
    """What the last change of a plan did, as a phrase after its agent's name."""
    _last: float = 0  # when the last fact was recorded

    def fact(self, recorded: Recorded) -> None:
        fact, at, before = recorded.fact, recorded.at, self.state
        self.state = apply(before, recorded)
        match fact:
            case Asked():
                self._asked(fact, at)
            case Resumed():
                self.change = change(before.asked.roster if before.asked else (), fact.roster)
                self._go_on(fact, at)
            case Stopped():
                self.ended = at
            case TurnBegan(agent):
                self.lanes[agent].begin(at)
            case Said() | Spent() | Retried() | Waited() | Reprompted():
                self._heard(self.lanes[fact.agent], fact, at)
            case ToolCalled() | ToolReturned() | PlanChanged():
                self._worked(fact, before, at)
            case Answered() | Voted() | TurnFailed() | Presented() | Evaluated() | Summarised():
                self._settled(self.lanes[fact.agent], fact, at)
            case _:
                pass
        self._last = at

    def _asked(self, asked: Asked, at: float) -> None:
        self.question, self.began, self.ended = line(asked.question), at, None
        self.use, self.change = Use(), Change()
        self.lanes = {member.id: Lane(line(member.model, 80), began=at) for member in asked.roster}
        self.plans = {name: plan for name, plan in self.plans.items() if not plan.over}

    def _worked(self, fact: ToolCalled | ToolReturned | PlanChanged, before: State, at: float) -> None:
        """Of an agent that is not in the team, too: it may have taken tasks before it left."""
        match fact:
            case PlanChanged(_, _, name):
                self.planned = line(news(before.plans.get(name, Plan()), fact))
                self.plans[name] = standing(self.state.plans[name])
            case _ if lane := self.lanes.get(fact.agent):
                lane.tool(fact, at)
            case _:
                pass

    def _go_on(self, resumed: Resumed, at: float) -> None:
        gap = max(0.0, at - (self._last if self.ended is None else self.ended))  # which does not count
        self.began, self.ended = self.began + gap, None
        for agent, lane in self.lanes.items():
            lane.go_on(gap, at, at_work=self.state.seats[agent].turn is not None)
        for member in resumed.roster:
            self.lanes.setdefault(member.id, Lane("", began=at)).model = line(member.model, 80)

    def delta(self, agent: str, chunk: Chunk) -> None:
        match chunk:
            case Waiting() if agent in self.lanes:
                self.lanes[agent].waits = None if chunk.over or 0 < chunk.seconds < WORTH_SHOWING else chunk
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                if (lane := self.lanes.get(agent)) and not lane.settled:
                    lane.hear(chunk)
            case _:
                pass

    def _heard(self, lane: Lane, fact: Said | Spent | Retried | Waited | Reprompted, at: float) -> None:
        match fact:
            case Said(_, _, message):
                lane.text, lane.in_vain = safe(message.text[-KEEP:])[-KEEP:] or lane.text, False
            case Spent():
                lane.turn_tokens += fact.output_tokens
                lane.use.add(fact)
                self.use.add(fact)
            case Retried(_, _, cause, delay):
                lane.retry_at, lane.note = at + delay, line(cause)
            case Waited():
                self.use.waited += fact.seconds
            case Reprompted(_, _, why):
                lane.note = line(why)

    def _settled(self, lane: Lane, fact: _Ending, at: float) -> None:
        match fact:
            case TurnFailed(_, _, kind, cause):
                lane.note, lane.failure = line(cause or kind), kind
                lane.settle(cause or kind, at)
            case Answered(content=text) | Voted(reason=text) | Summarised(content=text):
                lane.settle(text, at)
            case Presented(_, turn, content):
                lane.settle(content, at if turn else lane.began + (lane.took or 0))
            case Evaluated():
                lane.settled, lane.took = True, at - lane.began

    @property
    def phase(self) -> Phase:
        if self.ended is not None:
            return "done"
        if any(seat.turn is not None and seat.purpose == "summarise" for seat in self.state.seats.values()):
            return "summarising"
        return "presenting" if self.state.chosen else "voting" if self.state.voting_open else "answering"

    @property
    def tally(self) -> dict[str, int]:
        """Counted votes by the author of the answer, as recorded with the choice or as they stand now; most first."""
        counted = self.state.chosen.tally if self.state.chosen else self.state.tally
        votes: Counter[str] = Counter()
        for seq, count in counted.items():
            votes[self.author(seq)] += count
        return dict(votes.most_common())

    @property
    def winner(self) -> str:
        """Who gave the chosen answer; empty before the choice."""
        return self.author(self.state.chosen.answer) if self.state.chosen else ""

    @property
    def answered(self) -> int:
        """How many agents have a current answer."""
        return len(self.state.answers)

    def author(self, seq: int) -> str:
        return self.state.authors.get(seq, f"answer {seq}")

    def elapsed(self, now: float) -> float:
        return max(0.0, (now if self.ended is None else self.ended) - self.began)

    def mood(self, agent: str, now: float) -> Mood:
        """What the agent is doing, in one word."""
        seat, lane = self.state.seats[agent], self.lanes[agent]
        if seat.left:
            return "left" if seat.left == GONE else "dropped" if lane.failure == "timeout" else "failed"
        if seat.turn is not None:
            doing = "using" if lane.using else _DOING.get(seat.purpose, "thinking")
            return "retrying" if lane.retry_at > now else doing
        if self.state.presented and self.state.presented.agent == agent:
            return "done"
        if seat.vote is not None:
            return "voted"
        return "answered" if seat.answer is not None else "waiting"

    def status(self, agent: str, now: float) -> str:
        """What the agent is doing, in a phrase."""
        seat, lane = self.state.seats[agent], self.lanes[agent]
        match mood := self.mood(agent, now):
            case "retrying":
                return f"retrying in {duration(max(1, round(lane.retry_at - now)))}: {lane.note}"
            case "failed" | "dropped":
                return f"{mood}: {lane.note}"
            case "voted":
                return f"voted for {self.author(seat.vote or 0)}"
            case "thinking" | "presenting" | "checking" | "summarising" | "using":
                return _at_work(lane, mood, now)
            case "left":
                return "left the team"
            case _:
                again, won = mood == "answered" and seat.given > 1, mood == "done" and self.tally
                return "answered anew" if again else "won" if won else mood


def _at_work(lane: Lane, mood: Mood, now: float) -> str:
    if lane.waits:
        return waiting(lane.waits)
    what, since, failed = str(mood), lane.began, f", {lane.used} failed" if lane.in_vain else ""
    if lane.using:
        first, *more = lane.using.values()
        what, since, failed = f"using {first}{f' +{len(more)}' if more else ''}", lane.since, ""
    return f"{what} {duration(int(max(0, now - since)))}{failed}"


def summary(view: View, now: float, session: str = "") -> tuple[str, str]:
    """The two lines that remain after a run: how it ended, and what it took."""
    state, use = view.state, view.use
    votes = ", ".join(f"{agent} {count}" for agent, count in view.tally.items())
    ended = state.stopped.why if state.stopped and view.ended is not None else "interrupted"
    if state.chosen:
        verdict = f"Chosen: {view.winner} ({f'votes: {votes}' if votes else state.chosen.why})"
        verdict += "" if ended == "answered" else f"; stopped: {ended}"
    else:
        verdict = f"No answer was chosen: {ended}"
    took = [
        f"{use.calls} model call{'s' * (use.calls != 1)}",
        f"{use.input_tokens:,} tokens in, {use.output_tokens:,} out",
        *filter(None, [money(use)]),
        *([f"{duration(use.waited)} waited for rate limits"] if use.waited >= WORTH_SHOWING else []),
        duration(view.elapsed(now) if view.lanes else 0.0),
        *([f"session {line(session)}"] if session else []),
    ]
    return verdict, ", ".join(took)
