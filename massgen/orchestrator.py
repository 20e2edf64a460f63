"""The shell around the rules: asks whoever is due, records what they say, and knows the time."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias, cast

from massgen.acts import Act
from massgen.agents import Agent, Turn
from massgen.coordination import (
    PLANLESS,
    Ask,
    Rules,
    ballot,
    cut_short,
    due,
    freed,
    interrupted,
    may_answer,
    patient,
    refusal,
    updated_ballot,
)
from massgen.errors import LogError, MassgenError, ProtocolError
from massgen.events import (
    Asked,
    Ballot,
    Fact,
    Failure,
    Informed,
    PlanChanged,
    Recorded,
    Reprompted,
    Resumed,
    Stopped,
    ToolCalled,
    ToolReturned,
    TurnBegan,
    TurnFailed,
    VotingOpened,
)
from massgen.log import Log, Sink
from massgen.messages import Chunk, Message, ToolCall
from massgen.planning import Change
from massgen.resuming import Memory, memories, remember, standing
from massgen.state import Seat, State, apply, saw_all
from massgen.toolbox import Returned
from massgen.turns import fact, plan_changed, plan_given, shown, tasks_of

MAX_CAUSE = 2000
"""Characters of an error that are recorded: some carry the whole reply."""


class Dice(Protocol):
    """What puts the answers on a ballot in some order."""

    def shuffle(self, x: list[Any], /) -> None: ...


Timer: TypeAlias = Callable[[Literal["run", "patience", "turn"], str, float | None], asyncio.Timeout]
"""What bounds the run, patience with first answers, or the turn of the agent named, until a time of the event loop's clock."""


def until(what: str, agent: str, when: float | None) -> asyncio.Timeout:
    """The clock itself, for all."""
    return asyncio.timeout_at(when)


@dataclass(frozen=True, slots=True)
class Times:
    """Limits in seconds: the whole run, one turn, and from the first answer to the opening of the vote."""

    run: float = 1800
    turn: float = 600
    patience: float = 120


@dataclass(slots=True)
class Orchestrator:
    """Takes questions from `Asked` to `Stopped`, one after the other; the log may hold earlier ones."""

    agents: Mapping[str, Agent]
    log: Log
    rules: Rules
    times: Times = Times()
    sinks: list[Sink] = field(default_factory=list[Sink])
    dice: Dice = field(default_factory=random.Random)
    timer: Timer = until
    notes: list[str] = field(default_factory=list[str])
    """What went wrong beside the run itself: sinks that were dropped."""
    state: State = field(init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _turns: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, "asyncio.Task[None]"])
    _memories: dict[str, Memory] = field(init=False)
    _vote_by: float | None = None
    """When patience runs out, on the event loop's clock; None before the first answer."""

    def __post_init__(self) -> None:
        self.state = standing(self.log.facts)
        self._memories = memories(self.state, self.log.facts)

    async def run(self, asked: Asked | Resumed, plan: Change | None = None) -> State:
        """Put the question, or finish the last one, and return the state the run stopped in. `plan` is given to the team
        with the question.

        Raises `LogError` when there is none to finish or the log cannot be written; when cancelled, the log says that it was
        interrupted, and the run can be resumed."""
        self._vote_by = None
        if isinstance(asked, Resumed) and not self.state.unfinished:
            raise LogError("the log holds no question to go on with", where=str(self.log.path), fix="Ask it anew.")
        if isinstance(asked, Asked):
            self.record(*interrupted(self.state, "interrupted", "the process ended"))
            self.record(*(freed(self.state) if self.state.unfinished else ()))  # a crash may have come before that
        self.record(asked, *([plan_given(self.state, plan)] if plan else []))
        try:
            await self._until_stopped()
        except asyncio.CancelledError:
            self._end([*interrupted(self.state, "interrupted", "the run was stopped"), Stopped("interrupted")])
            raise
        return self.state

    def catch_up(self, facts: Iterable[Recorded], whom: type = object) -> None:
        """Tell the sinks that are a `whom` what was recorded before they came."""
        for recorded in facts:
            self._tell(lambda sink, recorded=recorded: sink.fact(recorded) if isinstance(sink, whom) else None)

    def record(self, *facts: Fact) -> None:
        """Append `facts`, of which a crash leaves all or none; fold them, tell the sinks."""
        for recorded in self.log.append_all(facts):
            self.state = apply(self.state, recorded)
            remember(self._memories, recorded.fact, self._texts)
            self._changed.set()
            self.catch_up([recorded])

    def _tell(self, tell: Callable[[Sink], None]) -> None:
        for sink in [*self.sinks]:
            try:
                tell(sink)
            except Exception as error:  # noqa: BLE001 - a sink must not harm the run, whatever is wrong with it
                self.sinks.remove(sink)
                self.notes.append(f"{type(sink).__name__} was dropped: {type(error).__name__}: {error}")

    async def _until_stopped(self) -> None:
        try:
            async with self.timer("run", "", _in(self.times.run)):
                await self._drive()
        except TimeoutError:
            self._end(cut_short(self.state))
        except ExceptionGroup as group:  # the log's: a turn keeps its errors to itself
            raise group.exceptions[0] from None

    def _end(self, facts: list[Fact]) -> None:
        if not self.state.stopped:  # it may have ended already, and only waited for a cancelled call to be closed
            self.record(*facts)

    async def _drive(self) -> None:
        async with asyncio.TaskGroup() as group:
            for seat in self.state.seats.values():
                if seat.turn is not None:
                    self._memories[seat.agent].rewind()
                    self._start(seat, group)
            while not self.state.stopped:
                self._changed.clear()
                for step in due(self.state, self.rules):
                    self._take(step, group)
                if not self._changed.is_set():
                    await self._wait()

    def _take(self, step: Ask | Fact, group: asyncio.TaskGroup) -> None:
        match step:
            case Ask():
                self._begin(step, group)
            case TurnFailed(agent):
                self.record(step)
                self._turns.pop(agent).cancel()
            case _:
                self.record(step)

    async def _wait(self) -> None:
        """Until a fact is recorded, or patience with the first answers runs out."""
        if not patient(self.state, self.rules):
            self._vote_by = None
        elif self._vote_by is None:
            self._vote_by = _in(self.times.patience)
        try:
            async with self.timer("patience", "", self._vote_by):
                await self._changed.wait()
        except TimeoutError:
            self.record(VotingOpened("patience ran out"))

    def _begin(self, ask: Ask, group: asyncio.TaskGroup) -> None:
        shown: Ballot = {} if ask.purpose in ("solo", "answer", "summarise") else ballot(self.state, self.dice.shuffle)
        if ask.purpose == "present":
            shown = self._winner_first(shown)
        self.record(TurnBegan(ask.agent, ask.purpose, shown))
        self._start(self.state.seats[ask.agent], group)

    def _start(self, seat: Seat, group: asyncio.TaskGroup) -> None:
        self._turns[seat.agent] = group.create_task(self._run_turn(self._turn(seat)), name=seat.agent)

    def _winner_first(self, shown: Ballot) -> Ballot:
        won = self.state.chosen.answer if self.state.chosen else 0
        entries = sorted(shown.values(), key=lambda entry: won not in entry)
        return {f"agent{number}": entry for number, entry in enumerate(entries, 1)}

    def _turn(self, seat: Seat) -> Turn:
        agent, seq, memory = seat.agent, seat.turn or 0, self._memories[seat.agent]
        return replace(
            shown(self.state, seat, may_answer(self.state, self.rules, agent)),
            answers=memory.shown,
            record=partial(self._record, memory),
            show=partial(self._show, agent),
            news=lambda: self._news(agent, seq) if memory.over else memory.news(),
            refusal=partial(self._refusal, agent),
            plan=None if self.rules.planning == "off" or seat.purpose in PLANLESS else partial(self._plan, agent, seq),
            tasks=lambda: tasks_of(self.state, self.rules, agent),
            said=lambda: memory.next(Message),
            used=lambda: memory.comes(ToolCalled),
            returned=lambda: memory.next(ToolReturned),
        )

    def _record(self, memory: Memory, *facts: Fact) -> None:
        """What an agent says, unless it has said so before its turn was taken up."""
        self.record(
            *(fact for fact in facts if not (isinstance(fact, ToolCalled | Reprompted) and memory.next(type(fact))))
        )

    def _plan(self, agent: str, seq: int, call: ToolCall) -> tuple[PlanChanged | None, Returned]:
        return plan_changed(self.state, self.rules, agent, seq, call, at=self.log.now())

    def _refusal(self, agent: str, act: Act) -> str | None:
        return refusal(self.state, self.rules, agent, act)

    def _show(self, agent: str, chunk: Chunk) -> None:
        if self.sinks:
            self._tell(lambda sink: sink.delta(agent, chunk))

    def _texts(self, shown: Ballot) -> dict[str, str]:
        return {label: self.state.answers[entry[0]].content for label, entry in shown.items()}

    def _news(self, agent: str, seq: int) -> Mapping[str, str] | None:
        seat = self.state.seats[agent]
        if seat.turn != seq or seat.purpose != "decide" or saw_all(self.state, seat.ballot):
            return None
        current = updated_ballot(self.state, seat)
        self.record(Informed(agent, seq, current))
        return self._texts(current)

    async def _run_turn(self, turn: Turn) -> None:
        limit = self.timer("turn", turn.agent, _in(self.times.turn))
        try:
            async with limit:
                act = await self.agents[turn.agent].turn(replace(turn, limit=limit))
            self._accept(turn, act)
        except LogError:
            raise
        except asyncio.CancelledError:
            if cast("asyncio.Task[None]", asyncio.current_task()).cancelling():
                raise
            self._failed(turn, "error", "its own work was cancelled")  # by a library beneath it, not by us
        except Exception as error:  # noqa: BLE001 - the edge of a turn: an agent's defect must not end the others' run
            kind, cause = ("timeout", f"no act within {self.times.turn:g} s") if limit.expired() else _failure(error)
            self._failed(turn, kind, cause)

    def _failed(self, turn: Turn, kind: Failure, cause: str) -> None:
        if self._is_open(turn):
            self.record(TurnFailed(turn.agent, turn.seq, kind, cause[:MAX_CAUSE]))

    def _is_open(self, turn: Turn) -> bool:
        return self.state.seats[turn.agent].turn == turn.seq

    def _accept(self, turn: Turn, act: Act) -> None:
        if not self._is_open(turn):
            return
        if why := self._refusal(turn.agent, act):
            raise ProtocolError(why)
        self.record(fact(self.state, turn, act))


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def _failure(error: Exception) -> tuple[Failure, str]:
    match error:
        case ProtocolError():
            return "protocol", str(error)
        case MassgenError():
            return "error", str(error)
        case _:
            return "error", f"{type(error).__name__}: {error}"
