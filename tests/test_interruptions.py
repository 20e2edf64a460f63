"""Ctrl-C at any fact, again and again: each time the run goes on where it stopped, and in the end there is an answer."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from massgen.backends import Request
from massgen.coordination import Rules
from massgen.events import Asked, Informed, Recorded, Said, Spent, Stopped, TurnBegan, Voted
from massgen.log import read
from massgen.messages import Chunk
from massgen.orchestrator import Orchestrator
from massgen.replay.verifying import verify
from massgen.state import State, fold
from massgen.testing import Scripted, calls
from tests.stage import ACTS, Actor, Cue, Stage, agents, comply, offered, play
from tests.test_truths import NAMES, folder, rules

pytestmark = pytest.mark.timeout(60)
SLIPS = ("ghost", "unknown", "both")
cues = st.builds(
    Cue,
    act=st.sampled_from(["comply", "comply", "revise", "revise", "overloaded", "restart", *SLIPS]),
    n=st.integers(0, 5),
    delay=st.sampled_from([0.0, 1.0, 1.0, 2.0, 5.0]),
)


@dataclass
class Player(Actor):
    """An actor whose texts are all different, and who knows which of its replies were heard to their end."""

    heard: list[int] = field(default_factory=list[int])
    """By their places in `requests`."""
    slipped: bool = False
    """It makes no mistake twice in a row: three end a turn, and the next one begins with the same words."""
    count: ClassVar[int] = 0

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        place = len(self.requests)
        async for chunk in super().stream(request):
            yield chunk
        self.heard.append(place)

    async def _reply(self, request: Request) -> Sequence[Chunk]:
        cue = self.cues.pop(0) if self.cues else Cue("comply")
        if self.slipped:
            cue = replace(cue, act="comply")
        self.slipped = cue.act in SLIPS
        await asyncio.sleep(cue.delay)
        reply = self._made(cue, request)
        if isinstance(reply, Exception):
            raise reply
        return [*reply]

    def _made(self, cue: Cue, request: Request) -> Scripted:
        Player.count += 1
        tools, text = offered(request), f"Text number {Player.count}."
        if cue.act == "revise" and "new_answer" in tools:
            return calls("new_answer", content=text)
        if cue.act in ("comply", "revise") or (cue.act == "restart" and "submit" not in tools):
            return comply(request, cue.n, text)
        return ACTS[cue.act](request, cue.n)


@dataclass
class Interrupter:
    """A sink that stops the run at a fact."""

    task: "asyncio.Task[Orchestrator]"
    left: int

    def fact(self, recorded: Recorded) -> None:
        self.left -= 1
        if self.left == 0:
            self.task.cancel()

    def delta(self, agent: str, chunk: Chunk) -> None:
        pass


@dataclass
class Saga:
    """A question that is asked, interrupted, gone on with, interrupted again."""

    path: Path
    cast: dict[str, Player]
    rules: Rules
    lives: int = 0

    def live(self, facts: int = 0) -> State:
        """Ask or go on, until the end or until so many facts were recorded; where the log stands then."""
        self.lives += 1
        before = self.path.read_bytes() if self.path.exists() else b""
        play(self._performed(facts))
        assert self.path.read_bytes().startswith(before)
        assert not any(player.unfinished for player in self.cast.values()), "a model call leaked"
        state = fold(read(self.path))
        assert state.stopped, "it was not said that the run had stopped"
        assert not any(seat.turn for seat in state.seats.values()), "a turn was left open"
        return state

    async def _performed(self, facts: int) -> None:
        stage = Stage(self.path, agents(self.cast), self.rules)
        task = asyncio.create_task(stage.perform())
        if facts:
            stage.sinks = [Interrupter(task, facts)]
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            raise error

    def check(self) -> None:
        facts = [*read(self.path)]
        verified = verify(facts, lambda asked: self.rules)
        assert verified.difference is None, verified.difference
        assert sum(isinstance(each.fact, Asked) for each in facts) == 1
        said = [each.fact for each in facts if isinstance(each.fact, Said)]
        paid = [each.fact for each in facts if isinstance(each.fact, Spent)]
        assert [(each.agent, each.turn) for each in said] == [(each.agent, each.turn) for each in paid]
        for name, player in self.cast.items():
            assert sum(each.agent == name for each in said) == len(player.heard), (
                "said more, or less, than it was asked"
            )
            _check_asked_once(player)
        _check_votes(facts)


def _check_asked_once(player: Player) -> None:
    """What was heard to its end is in the log, and is not asked again."""
    for place in player.heard:
        request = player.requests[place]
        again = [
            each
            for each in player.requests[place + 1 :]
            if (each.messages, each.tools) == (request.messages, request.tools)
        ]
        assert not again, f"asked again: {request.messages[-1]}"


def _check_votes(facts: Sequence[Recorded]) -> None:
    """Every counted vote saw every current answer, each taken from the facts alone."""
    state, shown = State(), dict[str, set[int]]()
    for each in facts:
        match each.fact:
            case TurnBegan(agent, _, ballot) | Informed(agent, _, ballot):
                shown[agent] = {seq for entry in ballot.values() for seq in entry}
            case Voted(agent):
                state = fold(facts[: each.seq])
                assert state.seats[agent].vote is None or {*state.answers} <= shown[agent]
            case _:
                pass


@settings(max_examples=80, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    team=st.lists(st.lists(cues, max_size=6), min_size=1, max_size=4),
    rules=rules,
    points=st.lists(st.integers(1, 25), min_size=1, max_size=6),
)
def test_a_run_that_is_interrupted_at_any_facts_comes_to_an_answer_and_asks_nothing_twice(
    team: list[list[Cue]], rules: Rules, points: list[int]
) -> None:
    with folder() as name:
        cast = {NAMES[n]: Player([*own]) for n, own in enumerate(team)}
        saga = Saga(Path(name) / "events.jsonl", cast, rules)
        state = saga.live(points[0])
        for point in points[1:]:
            if state.unfinished:
                state = saga.live(point)
        while state.unfinished:
            assert saga.lives < 40, "it comes to no end"
            state = saga.live()
        assert state.presented
        assert state.stopped in (Stopped("answered"), Stopped("all failed"))
        saga.check()
