"""The shell around the rules: asks whoever is due, records what they say, and knows the time."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from massgen.acts import Act, Final, NewAnswer, Vote
from massgen.agents import Agent, Task, Turn
from massgen.coordination import (
    Ask,
    Rules,
    ballot,
    cut_short,
    due,
    interrupted,
    may_answer,
    patient,
    refusal,
    updated_ballot,
)
from massgen.errors import LogError, MassgenError, ProtocolError
from massgen.events import (
    Answered,
    Asked,
    Ballot,
    Evaluated,
    Fact,
    Failure,
    Informed,
    Presented,
    Recorded,
    Stopped,
    TurnBegan,
    TurnFailed,
    Voted,
    VotingOpened,
)
from massgen.log import Log, Sink
from massgen.messages import Chunk
from massgen.state import State, apply, fold, saw_all

MAX_CAUSE = 2000
"""Characters of an error that are recorded: some carry the whole reply."""


@dataclass(frozen=True, slots=True)
class Times:
    """Limits in seconds: the whole run, one turn, and from the first answer to the opening of the vote."""

    run: float = 1800
    turn: float = 600
    patience: float = 120


@dataclass(slots=True)
class Orchestrator:
    """Takes one question from `Asked` to `Stopped`; a log that already holds facts is continued."""

    agents: Mapping[str, Agent]
    log: Log
    rules: Rules
    times: Times = Times()
    sinks: list[Sink] = field(default_factory=list[Sink])
    dice: random.Random = field(default_factory=random.Random)
    notes: list[str] = field(default_factory=list[str])
    """What went wrong beside the run itself: sinks that were dropped."""
    state: State = field(default_factory=State)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _turns: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, "asyncio.Task[None]"])
    _vote_by: float | None = None
    """When patience runs out, on the event loop's clock; None before the first answer."""

    async def run(self, asked: Asked | None = None) -> State:
        """Put the question (None: continue the log's) and return the state the run stopped in.

        Raises `LogError` when the log cannot be written; when cancelled, the log says that it was interrupted."""
        self.state = fold(self.log.facts)
        for fact in interrupted(self.state, "interrupted", "the process ended"):
            self.record(fact)
        if asked:
            self.record(asked)
        if not self.state.asked:
            raise LogError("the log holds no question to go on with", where=str(self.log.path), fix="Ask it anew.")
        try:
            await self._until_stopped()
        except asyncio.CancelledError:
            self._end([*interrupted(self.state, "interrupted", "the run was stopped"), Stopped("interrupted")])
            raise
        return self.state

    def record(self, fact: Fact) -> Recorded:
        """Append `fact`, fold it, tell the sinks."""
        recorded = self.log.append(fact)
        self.state = apply(self.state, recorded)
        self._changed.set()
        self._tell(lambda sink: sink.fact(recorded))
        return recorded

    def _tell(self, tell: Callable[[Sink], None]) -> None:
        for sink in [*self.sinks]:
            try:
                tell(sink)
            except Exception as error:  # noqa: BLE001 - a sink must not harm the run, whatever is wrong with it
                self.sinks.remove(sink)
                self.notes.append(f"{type(sink).__name__} was dropped: {type(error).__name__}: {error}")

    async def _until_stopped(self) -> None:
        try:
            async with asyncio.timeout(self.times.run):
                await self._drive()
        except TimeoutError:
            self._end(cut_short(self.state))
        except ExceptionGroup as group:  # the log's: a turn keeps its errors to itself
            raise group.exceptions[0] from None

    def _end(self, facts: list[Fact]) -> None:
        if not self.state.stopped:  # it may have ended already, and only waited for a cancelled call to be closed
            for fact in facts:
                self.record(fact)

    async def _drive(self) -> None:
        async with asyncio.TaskGroup() as group:
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
            self._vote_by = asyncio.get_running_loop().time() + self.times.patience
        try:
            async with asyncio.timeout_at(self._vote_by):
                await self._changed.wait()
        except TimeoutError:
            self.record(VotingOpened("patience ran out"))

    def _begin(self, ask: Ask, group: asyncio.TaskGroup) -> None:
        shown: Ballot = {} if ask.purpose in ("solo", "answer") else ballot(self.state, self.dice.shuffle)
        if ask.purpose == "present":
            shown = self._winner_first(shown)
        seq = self.record(TurnBegan(ask.agent, ask.purpose, shown)).seq
        self._turns[ask.agent] = group.create_task(self._run_turn(self._turn(ask, seq)), name=ask.agent)

    def _winner_first(self, shown: Ballot) -> Ballot:
        won = self.state.chosen.answer if self.state.chosen else 0
        entries = sorted(shown.values(), key=lambda entry: won not in entry)
        return {f"agent{number}": entry for number, entry in enumerate(entries, 1)}

    def _turn(self, ask: Ask, seq: int) -> Turn:
        state, agent = self.state, ask.agent
        asked, presented = state.asked, state.presented
        shown = state.seats[agent].ballot
        return Turn(
            seq=seq,
            agent=agent,
            purpose=ask.purpose,
            task=Task(
                asked.question if asked else "",
                asked.media if asked else (),
                state.previous.content if state.previous else "",
                state.feedback,
            ),
            answers=self._texts(shown),
            may_answer=may_answer(state, self.rules, agent),
            record=self.record,
            show=lambda chunk: self._show(agent, chunk),
            news=lambda: self._news(agent, seq),
            refusal=lambda act: refusal(self.state, self.rules, agent, act),
            votes=self._votes(shown) if ask.purpose == "present" else None,
            draft=presented.content if presented and ask.purpose == "evaluate" else "",
        )

    def _show(self, agent: str, chunk: Chunk) -> None:
        if self.sinks:
            self._tell(lambda sink: sink.delta(agent, chunk))

    def _texts(self, shown: Ballot) -> dict[str, str]:
        return {label: self.state.answers[entry[0]].content for label, entry in shown.items()}

    def _votes(self, shown: Ballot) -> dict[str, tuple[str, ...]]:
        """Label -> the reasons of its counted votes."""
        voters = [seat for seat in self.state.seats.values() if seat.vote is not None]
        return {label: tuple(seat.reason for seat in voters if seat.vote in entry) for label, entry in shown.items()}

    def _news(self, agent: str, seq: int) -> Mapping[str, str] | None:
        seat = self.state.seats[agent]
        if seat.turn != seq or seat.purpose != "decide" or saw_all(self.state, seat.ballot):
            return None
        current = updated_ballot(self.state, seat)
        self.record(Informed(agent, seq, current))
        return self._texts(current)

    async def _run_turn(self, turn: Turn) -> None:
        limit = asyncio.timeout(self.times.turn)
        try:
            async with limit:
                act = await self.agents[turn.agent].turn(turn)
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
        if why := refusal(self.state, self.rules, turn.agent, act):
            raise ProtocolError(why)
        self.record(self._fact(turn, act))

    def _fact(self, turn: Turn, act: Act) -> Fact:
        agent, seq = turn.agent, turn.seq
        match act:
            case Final(content) if turn.purpose == "present":
                return Presented(agent, seq, content)
            case Final(content) | NewAnswer(content):
                return Answered(agent, seq, content)
            case Vote(label, reason):
                return Voted(agent, seq, self.state.seats[agent].ballot[label][0], reason)
            case _:
                return Evaluated(agent, seq, act.verdict, act.reason, act.instructions)


def _failure(error: Exception) -> tuple[Failure, str]:
    match error:
        case ProtocolError():
            return "protocol", str(error)
        case MassgenError():
            return "error", str(error)
        case _:
            return "error", f"{type(error).__name__}: {error}"
