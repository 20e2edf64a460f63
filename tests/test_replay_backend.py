"""The replay backend: a run is reproduced from its session, offline; a request that was not recorded is told."""

import asyncio
import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen import arun, prompts
from massgen.agents import Agent
from massgen.agents.small import SmallAgent
from massgen.agents.tools import Tools
from massgen.backends import Request, Tool
from massgen.backends.chat_completions import HttpPool
from massgen.backends.conductor import NEVER, Breath, Conductor
from massgen.backends.replay import Call as Recall
from massgen.backends.replay import Failed, Replayed, Replied
from massgen.config.loading import Loaded, load, parse
from massgen.conversation import rules, times
from massgen.coordination import Rules
from massgen.errors import BackendError, ConfigError, Exit
from massgen.events import (
    Answered,
    Asked,
    Evaluated,
    Fact,
    Informed,
    Member,
    Presented,
    Recorded,
    Reprompted,
    Resumed,
    Retried,
    Said,
    Spent,
    Stopped,
    Summarised,
    ToolReturned,
    TurnBegan,
    TurnFailed,
    Voted,
    Waited,
)
from massgen.log import Log, read
from massgen.messages import Chunk, Media, Message, TextDelta, ToolCall, Waiting, assistant, tool_result, user
from massgen.orchestrator import Orchestrator, Times
from massgen.replay import recordings
from massgen.replay.recorded_tools import RecordedBox, used
from massgen.replay.recordings import ran_out
from massgen.replay.restaging import Dice, Restaging
from massgen.state import State
from massgen.team import build
from massgen.testing import says
from massgen.toolbox import Returned
from tests.command import massgen
from tests.conversations import GOLDEN, PLANNING, Shelf, Speaker, Use, Worker, worker
from tests.facts import answering
from tests.providers import Call, Reply, Simulator, call, fault, say
from tests.stage import QUESTION, Actor, Cue, Stage, actors, agents, play
from tests.test_small_agent import Judge
from tests.test_truths import Scene, scenes

NAMES = ("ada", "bob", "cy")
MODEL = "smollm2-135m"


def essence(facts: Sequence[Recorded]) -> list[Fact]:
    """The facts without what a replay cannot have: who was called, how long that took, and what it cost."""
    plain: list[Fact] = []
    for recorded in facts:
        match recorded.fact:
            case Asked() as fact:
                fact = replace(fact, roster=tuple(replace(each, backend="") for each in fact.roster), config={})
            case Spent() as fact:
                fact = replace(fact, seconds=0.0, cost=None)
            case fact:
                pass
        plain.append(fact)
    return plain


async def perform(loaded: Loaded, path: Path, *questions: str, env: Mapping[str, str] | None = None) -> State:
    """Ask a team as the command does; without a network if it replays."""
    config, state = loaded.config, State()
    replays = all(agent.backend.type == "replay" for agent in config.agents)
    async with HttpPool() as pool, build(config, env or {}, HttpPool() if replays else pool) as team:
        with Log(path / "events.jsonl") as log:
            run = Orchestrator(
                team.agents, log, rules(config.orchestrator), times(config), dice=team.dice, timer=team.timer
            )
            for question in questions or (QUESTION,):
                state = await run.run(Asked(question, team.roster, config=loaded.source))
    return state


def facts(session: Path) -> list[Recorded]:
    return [*read(session / "events.jsonl")]


def team(base_url: str, **sections: Any) -> dict[str, Any]:
    backend = {"type": "chatcompletion", "base_url": base_url}
    every = [{"id": name, "backend": {**backend, "model": f"{name}-1"}} for name in NAMES]
    return {"agents": every, **sections}


def replayed(source: Mapping[str, Any], session: Path, env: Mapping[str, str] | None = None, **names: str) -> Loaded:
    """`source`, with the agents in `names`, or all, from `session`."""
    every = [
        {**agent, "backend": {"type": "replay", "session": str(session), "agent": names.get(agent["id"], "")}}
        if not names or agent["id"] in names
        else agent
        for agent in source["agents"]
    ]
    return parse({**source, "agents": every}, env or {})


@dataclass
class Troupe:
    """A team in which everything happens: a call that fails, replies that are refused, a revision while another decides,
    a final answer that is sent back."""

    heard: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    revised: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, asked: Call) -> Reply:
        name = asked.model.removesuffix("-1")
        purpose = next((each for each in ("vote", "new_answer", "submit") if each in asked.tools), "present")
        self.heard[name, purpose] += 1
        if self.heard[name, purpose] == 1 and (name, purpose) in TROUBLES:
            return replace(TROUBLES[name, purpose], gate=self.revised if purpose == "vote" and name == "cy" else None)
        return self.comply(name, purpose, asked, json.dumps(asked.messages))

    def comply(self, name: str, purpose: str, asked: Call, said: str) -> Reply:
        match purpose:
            case "vote":
                if "Rayleigh" in said:
                    self.revised.set()
                labels = asked.tools["vote"]["properties"]["agent_id"]["enum"]
                return call("vote", reason=f"{name} finds it right.", agent_id=labels[0])
            case "submit":
                return call("restart_orchestration", reason="Thin.", instructions="Say more.")
            case "new_answer":
                return call("new_answer", content=f"{name} says{' more' * ('Say more' in said)}: it scatters.")
            case _:
                return say(f"The sky, says {name}, is blue by scattering.")


TROUBLES = {
    ("bob", "new_answer"): fault(status=503),
    ("cy", "new_answer"): say("It is blue. Would you like me to go on?"),
    ("bob", "vote"): call("new_answer", content="Because short waves scatter more, says Rayleigh."),
    ("cy", "vote"): say("Hm."),  # once bob has revised, and so in the middle of a turn
}


async def recorded(folder: Path, **sections: Any) -> tuple[dict[str, Any], list[Recorded]]:
    """A configuration, and what came of it; the simulator it names is gone by then."""
    async with Simulator(Troupe()) as simulator:
        source = team(simulator.base_url, **sections)
        await perform(parse(source), folder)
    return source, facts(folder)


RESTARTS = {"orchestrator": {"coordination": {"max_orchestration_restarts": 1}}}


async def test_a_run_is_reproduced_fact_by_fact_without_a_network(tmp_path: Path) -> None:
    source, done = await recorded(tmp_path / "one", **RESTARTS)
    kinds = Counter(type(each.fact) for each in done)
    assert min(kinds[kind] for kind in (Retried, Informed, Voted, Evaluated)) >= 1
    assert kinds[Reprompted] == 2
    again = await perform(replayed(source, tmp_path / "one"), tmp_path / "two")
    assert essence(facts(tmp_path / "two")) == essence(done)
    assert again.stopped == Stopped("answered")
    assert again.spent.cost == 0
    assert again.spent.output_tokens == sum(each.fact.output_tokens for each in done if isinstance(each.fact, Spent))


WATCHED = """
import os, sys
def watch(event, args):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo"):
        os._exit(77)
sys.addaudithook(watch)
from massgen.cli import run
sys.exit(run(sys.argv[1:]))
"""


async def test_the_command_replays_without_a_socket_or_a_key(tmp_path: Path) -> None:
    async with Simulator(Troupe()) as simulator:
        source = team(simulator.base_url, **RESTARTS)
        lived = await arun(QUESTION, source, session_dir=tmp_path / "sessions")
    (tmp_path / "again.yaml").write_text(json.dumps(replayed(source, lived.session).source))
    ran = await massgen("-c", WATCHED, "--config", "again.yaml", "--session-dir", "again", QUESTION, program=())
    assert (ran.code, ran.out) == (Exit.ANSWER, f"{lived.answer}\n")
    (session,) = (tmp_path / "again").iterdir()
    done, again = (essence(facts(each))[1:] for each in (lived.session, session))
    assert again == done


async def test_the_roster_says_that_it_was_a_replay_and_of_which_models(tmp_path: Path) -> None:
    source, _ = await recorded(tmp_path / "one")
    await perform(replayed(source, tmp_path / "one"), tmp_path / "two")
    asked = facts(tmp_path / "two")[0].fact
    assert isinstance(asked, Asked)
    assert asked.roster == tuple(Member(name, "replay", f"{name}-1") for name in NAMES)


async def test_a_replay_can_be_replayed(tmp_path: Path) -> None:
    source, done = await recorded(tmp_path / "one", **RESTARTS)
    await perform(replayed(source, tmp_path / "one"), tmp_path / "two")
    await perform(replayed(source, tmp_path / "two"), tmp_path / "three")
    assert essence(facts(tmp_path / "three")) == essence(done)


# --- random runs ---------------------------------------------------------------------------------------------------


@dataclass
class Recorder(Stage):
    """A stage whose log says by which rules it was recorded."""

    @property
    def asked(self) -> Asked:
        return replace(super().asked, config={"orchestrator": asdict(self.rules)})

    @property
    def restaging(self) -> Restaging:
        every = [{"id": name, "backend": {"type": "replay", "session": str(self.path)}} for name in self.agents]
        return Restaging(parse({"agents": every}).config, {})

    async def again(self, path: Path) -> list[Recorded]:
        """The facts of its replay."""
        restaging = self.restaging
        cast = {name: restaging.agent(name)[0] for name in self.agents}
        with Log(path, clock=lambda: 1_790_000_000.0) as log:
            await Orchestrator(cast, log, self.rules, self.times, dice=restaging.dice, timer=restaging.timer).run(
                self.asked
            )
        return [*read(path)]


def staged(scene: Scene, folder: str) -> Recorder:
    plain, _ = scene.stage(folder)
    return Recorder(plain.path, plain.agents, plain.rules, plain.times, seed=plain.seed)


UNEQUAL = st.builds(
    Times,
    run=st.sampled_from([1800.55, 60.45, 3.35]),
    turn=st.sampled_from([600.25, 20.15]),
    patience=st.sampled_from([120.7, 2.6]),
)
"""Limits that are over in no instant in which a reply comes, for those come after whole seconds."""


@pytest.mark.timeout(60)
@settings(max_examples=40, deadline=None)
@given(st.builds(replace, scenes, times=UNEQUAL))
def test_random_runs_are_reproduced(scene: Scene) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stage = staged(scene, folder)
        stage.run()
        done = [*read(stage.path)]
        assert essence(play(stage.again(Path(folder) / "again.jsonl"))) == essence(done)


def test_a_reply_that_came_before_a_turn_could_begin_comes_so_again(tmp_path: Path) -> None:
    """Its agent is told of that answer in its first call: as answers come, three models reply in the same instant."""
    cast = actors([], [], [Cue("ghost"), Cue("comply", delay=0.0)])
    stage = Recorder(tmp_path / "events.jsonl", agents(cast), Rules(first_answers="as_they_come"))
    stage.run()
    done = facts(tmp_path)
    assert any(
        isinstance(one, TurnBegan) and isinstance(two, Informed) and one.agent == two.agent for one, two in pairs(done)
    )
    assert essence(play(stage.again(tmp_path / "again.jsonl"))) == essence(done)


def pairs(done: Sequence[Recorded]) -> list[tuple[Fact, Fact]]:
    """Each turn's beginning with what came next of it."""
    began = {each.seq: each.fact for each in done if isinstance(each.fact, TurnBegan)}
    firsts: dict[int, Fact] = {}
    for each in done:
        if turn := getattr(each.fact, "turn", None):
            firsts.setdefault(turn, each.fact)
    return [(began[turn], first) for turn, first in firsts.items()]


@pytest.mark.parametrize("stop", ["consensus", "decided"])
def test_a_call_that_was_cancelled_since_the_vote_was_over_is_cancelled_again(stop: Any, tmp_path: Path) -> None:
    cast = actors([], [], [], [Cue("comply"), Cue("comply", delay=50.0)])
    stage = Recorder(tmp_path / "events.jsonl", agents(cast), Rules(stop=stop))
    stage.run()
    cancelled = [each for each in facts(tmp_path) if isinstance(each.fact, TurnFailed)]
    assert len(cancelled) == (stop == "decided")
    assert essence(play(stage.again(tmp_path / "again.jsonl"))) == essence(facts(tmp_path))


@pytest.mark.parametrize("cue", ["refused", "limited for long", "defect", "cancelled"])
def test_a_failure_is_reproduced_and_nothing_is_waited_for(cue: str, tmp_path: Path) -> None:
    cast = actors([Cue(cue)], [Cue("limited", 30), Cue("overloaded")], [])
    stage = Recorder(tmp_path / "events.jsonl", agents(cast))
    stage.run()
    done = facts(tmp_path)
    assert [each.fact.delay for each in done if isinstance(each.fact, Retried)] == [30.0, 2.0]
    assert [each.fact.kind for each in done if isinstance(each.fact, TurnFailed)] == ["error"]
    assert essence(asyncio.run(stage.again(tmp_path / "again.jsonl"))) == essence(done)


def test_time_that_ran_out_runs_out_again_at_once(tmp_path: Path) -> None:
    """Patience after 120 s, then the turns of two agents that never reply."""
    cast = actors([], [], [Cue("comply", delay=130.0)], [Cue("hang")], [Cue("hang")])
    stage = Recorder(tmp_path / "events.jsonl", agents(cast))
    stage.run()
    done = facts(tmp_path)
    assert sum(ran_out(each.fact) is not None for each in done) == 3
    assert essence(asyncio.run(stage.again(tmp_path / "again.jsonl"))) == essence(done)


def test_in_a_run_that_takes_another_way_time_is_the_clocks(tmp_path: Path) -> None:
    """One agent hangs, another has other instructions now: patience with the one that hangs runs out after 120 s again."""
    stage = Recorder(tmp_path / "events.jsonl", agents(actors([], [], [Cue("hang")])))
    stage.run()
    backend = {"type": "replay", "session": str(stage.path)}
    team = [{"id": name, "backend": backend, "system_message": "Be brief." * (name == "b")} for name in "abc"]
    restaging = Restaging(parse({"agents": team}).config, {})
    cast = {name: restaging.agent(name)[0] for name in "abc"}

    async def scene() -> float:
        with Log(tmp_path / "again.jsonl") as log:
            await Orchestrator(cast, log, Rules(), dice=restaging.dice, timer=restaging.timer).run(stage.asked)
        return asyncio.get_running_loop().time()

    assert 120 < play(scene()) <= 600
    kinds = [each.fact.kind for each in read(tmp_path / "again.jsonl") if isinstance(each.fact, TurnFailed)]
    assert kinds[0] == "error"


@pytest.mark.parametrize("lines", range(3, 35, 3))
def test_a_run_that_was_interrupted_and_resumed_is_reproduced_as_one(lines: int, tmp_path: Path) -> None:
    """Cut anywhere: the facts are those of a run that was not, and its numbers count on without the break."""
    cast = actors([Cue("text", 4)], [Cue("question"), Cue("comply")], [])
    stage = Recorder(tmp_path / "events.jsonl", agents(cast))
    stage.run()
    stage.path.write_bytes(b"".join(stage.path.read_bytes().splitlines(True)[:lines]))
    stage.agents = agents(actors([], [], []))
    stage.run()
    done = facts(tmp_path)
    assert any(isinstance(each.fact, Resumed) for each in done)
    again = play(stage.again(tmp_path / "again.jsonl"))
    assert [type(each) for each in essence(again)] == [
        type(each.fact) for each in done if not isinstance(each.fact, Resumed)
    ]
    assert contents(again) == contents(done)


def contents(done: Sequence[Recorded]) -> list[str]:
    return [each.fact.content for each in done if isinstance(each.fact, Answered | Presented)]


@dataclass
class Queued(Actor):
    """An actor whose calls wait for their limits first, and tell of it however that ends; the first for 1 s."""

    later: float = 500.0

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        began = asyncio.get_running_loop().time()
        try:
            await asyncio.sleep(self.later if self.requests else 1.0)
        finally:
            seconds = asyncio.get_running_loop().time() - began
            request.waits(Waiting("rpm", seconds, 5, 5, over=True))
        async for chunk in super().stream(request):
            yield chunk


def queued(path: Path, rules: Rules, times: Times) -> Recorder:
    cast = {"a": Queued(later=1.0), "b": Queued(text="B."), "c": Actor(), "d": Actor()}
    stage = Recorder(path / "events.jsonl", agents(cast), rules, times)
    stage.run()
    return stage


def test_waits_for_limits_are_told_again(tmp_path: Path) -> None:
    stage = queued(tmp_path, Rules(), Times(run=30))
    done = facts(tmp_path)
    assert sum(isinstance(each.fact, Waited) for each in done) >= 4
    assert essence(play(stage.again(tmp_path / "again.jsonl"))) == essence(done)


def test_a_call_that_is_cancelled_while_it_waits_tells_of_it_after_its_turn(tmp_path: Path) -> None:
    stage = queued(tmp_path, Rules(stop="decided"), Times())
    done = facts(tmp_path)
    ((seq, turn),) = ((each.seq, each.fact.turn) for each in done if isinstance(each.fact, TurnFailed))
    assert turn in [each.fact.turn for each in done[seq:] if isinstance(each.fact, Waited)]
    assert essence(play(stage.again(tmp_path / "again.jsonl"))) == essence(done)


def test_the_order_of_a_question_is_kept_whatever_came_of_those_before() -> None:
    async def asks(conductor: Conductor, agent: str, place: int, question: int) -> str:
        told = await conductor.reach(agent, place, question=question)
        order.append(agent)
        return f"{agent} {told}"

    async def scene() -> list[str]:
        conductor = Conductor(
            [
                Breath(5, frozenset("ab"), 1),
                Breath(15, frozenset("ab"), 10),
                Breath(16, frozenset("a"), 10),
            ]
        )
        calls = [
            asks(conductor, "a", 15, 10),
            asks(conductor, "b", 14, 10),
            asks(conductor, "c", 3, 1),
            asks(conductor, "d", NEVER, 10),
        ]
        return await asyncio.gather(*calls)

    order: list[str] = []
    assert asyncio.run(scene()) == ["a True", "b True", "c True", "d False"]
    assert order == ["c", "b", "a", "d"]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_calls_of_every_golden_log_can_be_told(path: Path, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(path.read_bytes())
    recording = recordings.load(tmp_path, {})
    replies = [each for each in read(path) if isinstance(each.fact, Said)]
    told = [call for calls in recording.calls.values() for call in calls if isinstance(call.outcome, Replied)]
    assert sorted(call.place for call in told) == [each.seq for each in replies]


def test_a_summary_of_the_conversation_is_reproduced(tmp_path: Path) -> None:
    cast = {name: Speaker([], f"{name} says: {'scattering ' * 20}") for name in "ab"}
    stage = Recorder(tmp_path / "events.jsonl", agents(cast))

    async def converse(team: Mapping[str, Agent], path: Path, dice: random.Random) -> list[Recorded]:
        with Log(path) as log:
            run = Orchestrator(team, log, stage.rules, dice=dice)
            for question in ("Why is the sky blue?", "And at night?", "And at dawn?"):
                await run.run(replace(stage.asked, question=question, window=400))
        return [*read(path)]

    done = play(converse(stage.agents, stage.path, random.Random(1)))
    assert any(isinstance(each.fact, Summarised) for each in done)
    restaging = stage.restaging
    cast_again = {name: restaging.agent(name)[0] for name in cast}
    again = play(converse(cast_again, tmp_path / "again.jsonl", restaging.dice))
    assert essence(again) == essence(done)


# --- tools -----------------------------------------------------------------------------------------------------------


@dataclass
class Equipped(Recorder):
    """A stage whose agents have tools; its log says whether they plan together."""

    config: Mapping[str, Any] = field(default_factory=lambda: PLANNING)

    @property
    def asked(self) -> Asked:
        return replace(super().asked, config={"orchestrator": self.config})


def timeless(facts: Sequence[Recorded]) -> list[Fact]:
    """Without how long tools took."""
    return [replace(fact, seconds=0.0) if isinstance(fact, ToolReturned) else fact for fact in essence(facts)]


def equipped(path: Path, cast: Mapping[str, Worker], rules: Rules, delay: float = 1.0) -> Equipped:
    shelf = Shelf({"search": delay, "write_file": 3 * delay})
    team = {name: replace(agent, tools=Tools(shelf)) for name, agent in agents(cast).items()}
    return Equipped(path, team, rules)


def moved(task: str, *states: str) -> list[Use]:
    return [("update_task_status", {"task_id": task, "status": status}) for status in states]


def test_uses_of_tools_and_a_plan_are_reproduced_without_any_tool(tmp_path: Path) -> None:
    tasks = [{"id": "read", "description": "Read"}, {"id": "write", "description": "Write", "depends_on": ["read"]}]
    notes, query = ("read_file", {"path": "notes.md"}), ("search", {"query": "sky"})
    cast = {
        "a": worker(
            "Scattering.",
            [("create_task_plan", {"tasks": tasks}), notes],
            [*moved("read", "in_progress"), query, notes, ("read_file", '{"path": ')],
            [("read_file", {"path": "missing.md"}), *moved("read", "completed")],
            [],
            [("send_mail", {})],
            [],
            [("send_mail", {}), ("write_file", {"path": "a.md"})],
        ),
        "b": worker("The sea.", [("write_file", {"path": "b.md"}), query], moved("write", "in_progress")),
        "c": worker("Light.", [], [notes], moved("write", "in_progress")),
    }
    stage = equipped(tmp_path / "events.jsonl", cast, Rules(planning="team"))
    stage.run()
    done = [*read(stage.path)]
    assert sum(isinstance(each.fact, ToolReturned) for each in done) == 13
    assert any(isinstance(each.fact, Reprompted) for each in done), "a task was still in progress"
    again = play(stage.again(tmp_path / "again.jsonl"))
    assert timeless(again) == timeless(done)


USES: list[Use] = [
    ("read_file", {"path": "notes.md"}),
    ("read_file", {"path": "missing.md"}),
    ("search", {"query": "sky"}),
    ("write_file", {"path": "a.md"}),
    ("send_mail", {}),
    ("create_task_plan", {"tasks": ["Read", "Write"]}),
    ("add_task", {"description": "Check"}),
    ("get_ready_tasks", {}),
    *moved("t1", "in_progress", "completed"),
    *moved("t2", "in_progress", "pending"),
]


@pytest.mark.timeout(60)
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.sampled_from(USES), max_size=3), max_size=5), min_size=1, max_size=3),
    st.sampled_from(["off", "agent", "team"]),
    st.sampled_from([0.0, 1.0, 2.5]),
)
def test_random_uses_of_tools_are_reproduced(rounds: list[list[list[Use]]], planning: Any, delay: float) -> None:
    cast = {name: worker(f"{name} says so.", *own) for name, own in zip("abc", rounds, strict=False)}
    coordination = {"enable_agent_task_planning": planning != "off", "plan_scope": planning}
    with tempfile.TemporaryDirectory() as folder:
        stage = equipped(Path(folder) / "events.jsonl", cast, Rules(planning=planning), delay)
        stage.config = {"coordination": coordination}
        stage.run()
        done = [*read(stage.path)]
        assert timeless(play(stage.again(Path(folder) / "again.jsonl"))) == timeless(done)


@pytest.mark.parametrize("name", ["tools", "plan"])
def test_a_recording_that_was_cut_anywhere_can_be_loaded(name: str, tmp_path: Path) -> None:
    lines = (GOLDEN / f"format-1-{name}.jsonl").read_bytes().splitlines(keepends=True)
    for end in range(3, len(lines)):
        (tmp_path / "events.jsonl").write_bytes(b"".join(lines[:end]))
        told = [call for calls in recordings.load(tmp_path, {}).calls.values() for call in calls if call.outcome]
        replies = (each for each in read(tmp_path / "events.jsonl") if isinstance(each.fact, Said))
        assert {each.seq for each in replies} <= {call.place for call in told}


def test_a_tool_that_took_longer_than_its_turn_could_does_so_again(tmp_path: Path) -> None:
    cast = {
        name: worker(f"{name} says so.", *own)
        for name, own in {"a": [], "b": [[USES[0], ("write_file", {"path": "a.md"})]]}.items()
    }
    stage = equipped(tmp_path / "events.jsonl", cast, Rules(planning="team"), 1e6)
    stage.times = Times(turn=20.0)
    stage.run()
    done = [*read(stage.path)]
    assert [each.fact.kind for each in done if isinstance(each.fact, TurnFailed)] == ["timeout"]
    assert timeless(play(stage.again(tmp_path / "again.jsonl"))) == timeless(done)


async def test_recorded_uses_are_given_in_their_order_the_last_again_and_no_others() -> None:
    run = answering(2)
    for number in range(3):
        run.use("alice", "search", '{"query": "sky"}', call="c").use("alice", "get_task_plan")
        if number < 2:
            run.result("alice", f"result {number}", call="c", is_error=number == 1)
    run.result("alice", "of nothing", call="d").begin("present").use("alice", "send_mail", "[")
    box = RecordedBox(used(run.facts)["alice"])
    offered = [(each.tool.name, each.access, each.own) for each in await box.offered()]
    assert offered == [("search", "write", True), ("send_mail", "write", False)]
    given = [await box.call("search", {"query": "sky"}) for _ in range(4)]
    cut_off = Returned(prompts.CUT_OFF, is_error=True)
    assert given == [Returned("result 0"), Returned("result 1", is_error=True), cut_off, cut_off]
    assert (await box.call("search", {"query": "sea"})).content == "The recording holds no such use of search."


# --- conversations, other kinds of agents, mixed teams -------------------------------------------------------------


async def test_the_questions_of_a_conversation_are_reproduced_together_and_the_first_alone(tmp_path: Path) -> None:
    async with Simulator(Troupe()) as simulator:
        source = team(simulator.base_url)
        await perform(parse(source), tmp_path / "one", "Why is the sky blue?", "And at night?")
    again = replayed(source, tmp_path / "one")
    await perform(again, tmp_path / "two", "Why is the sky blue?", "And at night?")
    assert essence(facts(tmp_path / "two")) == essence(facts(tmp_path / "one"))
    await perform(again, tmp_path / "three", "Why is the sky blue?")
    first = essence(facts(tmp_path / "three"))
    assert first == essence(facts(tmp_path / "one"))[: len(first)]


async def test_an_embedded_model_that_scores_is_replayed(tmp_path: Path) -> None:
    """Three agents whose votes are by likelihood: of an answer that they find likely, and of what they would present."""
    likes = {"Paris": -0.53, "Rome": -2.0, "Paris, France": -0.2}
    names = ("ada", "bob", "cy")

    def judge(answer: str) -> Judge:
        def reply(asked: Request) -> list[Chunk]:
            return says("Paris, France" if "Correct answer" in asked.messages[-1].text else answer)

        return Judge(reply, MODEL, likes=likes)

    backends = {name: judge(text) for name, text in zip(names, ("Rome", "Paris", "Berlin"), strict=True)}
    backends["cy"].troubles.append(BackendError("the local model ended", transient=True))
    cast = {name: SmallAgent(name, backend) for name, backend in backends.items()}
    roster = tuple(Member(name, "local", MODEL) for name in names)
    with Log(tmp_path / "one/events.jsonl") as log:
        await Orchestrator(cast, log, Rules()).run(Asked("What is the capital of France?", roster))
    done = facts(tmp_path / "one")
    assert "likeliest of 3" in str(done)
    assert contents(done)[-1] == "Paris, France"
    for before, after in (("one", "two"), ("two", "three")):
        again = replayed({"agents": [{"id": name} for name in names]}, tmp_path / before)
        await perform(again, tmp_path / after, "What is the capital of France?")
        assert essence(facts(tmp_path / after)) == essence(done)


async def test_scores_that_failed_fail_again(tmp_path: Path) -> None:
    """One scores at its second try; the other never does."""
    gone = "the local model ended"
    one = Judge([says("Paris"), says("Paris, France")], MODEL, troubles=[BackendError(gone, transient=True)])
    two = Judge([says("Rome")], MODEL, troubles=[BackendError(gone, transient=True), BackendError(gone)])
    cast = {"a": SmallAgent("a", one), "b": SmallAgent("b", two)}
    roster = tuple(Member(name, "local", MODEL) for name in cast)
    with Log(tmp_path / "one/events.jsonl") as log:
        await Orchestrator(cast, log, Rules()).run(Asked("What is the capital of France?", roster))
    done = facts(tmp_path / "one")
    assert [each.fact.kind for each in done if isinstance(each.fact, TurnFailed)] == ["error"]
    again = replayed({"agents": [{"id": name} for name in cast]}, tmp_path / "one")
    await perform(again, tmp_path / "two", "What is the capital of France?")
    assert essence(facts(tmp_path / "two")) == essence(done)


async def test_agents_that_are_replayed_and_agents_that_live_make_one_team(tmp_path: Path) -> None:
    await recorded(tmp_path / "one")
    troupe = Troupe()
    troupe.revised.set()
    async with Simulator(troupe) as simulator:
        live = team(simulator.base_url)
        state = await perform(replayed(live, tmp_path / "one", ada="ada", bob="bob"), tmp_path / "two")
        asked = {record.call.model for record in simulator.calls if record.call}
    assert asked == {"cy-1"}
    assert state.stopped == Stopped("answered")
    assert {"ada", "bob"} <= {seat.agent for seat in state.seats.values() if seat.answer}


async def test_one_recorded_agent_may_play_several_and_under_another_name(tmp_path: Path) -> None:
    await recorded(tmp_path / "one")
    two = {"agents": [{"id": "dee"}, {"id": "eli"}]}
    state = await perform(replayed(two, tmp_path / "one", dee="ada", eli="ada"), tmp_path / "two")
    answers = [each.fact.content for each in facts(tmp_path / "two") if isinstance(each.fact, Answered)]
    assert answers == ["ada says: it scatters."] * 2
    assert state.asked
    assert [member.model for member in state.asked.roster] == ["ada-1", "ada-1"]


# --- what cannot be replayed ---------------------------------------------------------------------------------------


async def test_a_request_that_was_not_recorded_is_told_with_its_difference(tmp_path: Path) -> None:
    source, _ = await recorded(tmp_path / "one")
    agents = [
        {**each, "system_message": "Be brief. Use metric units."} if each["id"] == "ada" else each
        for each in source["agents"]
    ]
    state = await perform(replayed({**source, "agents": agents}, tmp_path / "one"), tmp_path / "two")
    told = state.seats["ada"].left
    assert told == (
        f"{(tmp_path / 'one').resolve()}, ada, turn 2 (answer): the recording knows no such request of ada. The closest is "
        "different (-recorded +asked):\n"
        "   [system]\n"
        "  +Be brief.\n"
        "  +Use metric units.\n"
        "  +\n"
        "   Several agents do the user's task, each on its own.\n"
        "  A replay takes the question, configuration and prompts of its recording. Restore them, or record it anew."
    )
    assert state.stopped, "the others are not kept waiting"


async def test_instructions_are_those_that_were_recorded_with_the_variables_of_now(tmp_path: Path) -> None:
    own = {"role": "critic", "system_message": "You serve ${COMPANY}."}
    async with Simulator(Troupe()) as simulator:
        source = team(simulator.base_url, roles={"critic": "Find what is wrong."})
        source["agents"] = [{**each, **own} for each in source["agents"]]
        await perform(parse(source, {"COMPANY": "Acme"}), tmp_path / "one")
    done = essence(facts(tmp_path / "one"))
    again = replayed(source, tmp_path / "one", {"COMPANY": "Acme"})
    await perform(again, tmp_path / "two", env={"COMPANY": "Acme"})
    assert essence(facts(tmp_path / "two")) == done
    state = await perform(again, tmp_path / "three", env={"COMPANY": "Ajax"})
    assert "-You serve Ajax." in state.seats["ada"].left


async def test_a_difference_is_short_however_much_is_different(tmp_path: Path) -> None:
    source, _ = await recorded(tmp_path / "one")
    state = await perform(replayed(source, tmp_path / "one"), tmp_path / "two", *["Why? " * 100_000])
    told = state.seats["cy"].left
    assert len(told) < 2_000
    assert re.search(r"\n  and [\d,]+ more lines\n", told)


def test_a_request_is_told_in_words(tmp_path: Path) -> None:
    """Calls, results, media, tools with their choices, schemas."""
    made = ToolCall("c1", "vote", '{"agent_id": "agent9"}')
    picture = Media("image", "image/png", data="x" * 4_000)
    schema = {"type": "object"}
    tool = Tool("vote", "Vote.", {"properties": {"reason": {}, "agent_id": {"enum": ["agent1", "agent2"]}}})
    backend = Replayed("here", "ada", "m", [Recall(1, "decide", 1, Request(()))], Conductor(()), "ada")
    asked = Request(
        (user("See.", (picture,)), Message("assistant", (made,)), tool_result(made, "No such answer.")), [tool], schema
    )
    with pytest.raises(BackendError) as raised:
        asyncio.run(first(backend, asked))
    for line in (
        "+image image/png , 4,000 characters",
        '+calls vote (c1): {"agent_id": "agent9"}',
        "+result of c1: No such answer.",
        "+[tool] vote(reason, agent_id: agent1 | agent2): Vote.",
        "+[schema] {'type': 'object'}",
    ):
        assert f"\n  {line}\n" in str(raised.value)


def test_a_difference_that_no_text_shows_is_told_as_such() -> None:
    """A tool's types, for one."""
    recorded, asked = (Request((user("?"),), [Tool("vote", "Vote.", {"type": kind})]) for kind in ("object", "array"))
    backend = Replayed("here", "ada", "m", [Recall(1, "decide", 1, recorded)], Conductor(()), "ada")
    with pytest.raises(BackendError, match="in no text, but in details"):
        asyncio.run(first(backend, asked))


async def first(backend: Replayed, request: Request) -> Chunk:
    return await anext(backend.stream(request))


async def test_what_a_recording_has_no_reply_to_is_told() -> None:
    unanswered = Recall(7, "decide", 1, Request((user("?"),)), ended="cancelled, the vote was over")
    for calls, why in (
        (
            [unanswered],
            "here, ada, turn 7 (decide): the recording holds no reply to this request: cancelled, the vote was over",
        ),
        ([], "here: the recording knows no such request of ada: it recorded none"),
    ):
        with pytest.raises(BackendError, match=re.escape(why)):
            await first(Replayed("here", "ada", "m", calls, Conductor(()), "ada"), unanswered.request)


async def test_a_request_that_is_made_once_more_than_recorded_has_the_last_reply() -> None:
    request = Request((user("?"),))
    outcomes = (Failed("HTTP 503", transient=True), Replied(assistant("One.")), Replied(assistant("Two.")))
    calls = [Recall(1, "answer", 0, request, place, outcome) for place, outcome in enumerate(outcomes, 2)]
    backend = Replayed("here", "ada", "m", calls, Conductor(()), "ada")
    with pytest.raises(BackendError, match="503"):
        await first(backend, request)
    assert [await first(backend, request) for _ in range(3)] == [
        TextDelta("One."),
        TextDelta("Two."),
        TextDelta("Two."),
    ]


async def problems(config: Mapping[str, Any]) -> str:
    with pytest.raises(ConfigError) as raised:
        async with HttpPool() as pool, build(parse(config).config, {}, pool):
            pass
    assert raised.value.exit_code == Exit.USAGE
    return str(raised.value)


async def test_what_is_wrong_with_recordings_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    await recorded(tmp_path / "one")
    for name, text in {
        "broken": "rubbish\n",
        "empty": '{"massgen": "session log", "format": 1}\n',
        "strange": '{"massgen": "session log", "format": 1}\n{"seq": 1, "at": 1.0, "type": "TurnBegan", "agent": "x", "purpose": "solo"}\n',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.jsonl").write_text(text)
    backends = {
        "a": {"session": "20250101"},
        "b": {"session": str(tmp_path / "gone")},
        "c": {"session": str(tmp_path / "broken")},
        "d": {"session": str(tmp_path / "empty")},
        "e": {"session": str(tmp_path / "strange")},
        "f": {"session": str(tmp_path / "one"), "agent": "dee"},
        "cy": {"session": str(tmp_path / "one")},
    }
    told = await problems(
        {"agents": [{"id": name, "backend": {"type": "replay", **own}} for name, own in backends.items()]}
    )
    lines = [line for line in told.splitlines() if not line.startswith("  ")]
    assert [line[:2] for line in lines] == ["a:", "b:", "c:", "d:", "e:", "f:"]
    assert "there is no session '20250101'" in lines[0]
    assert "there is no session" in lines[1]
    assert "events.jsonl:1: not a session log" in lines[2]
    assert "it holds no question" in lines[3]
    assert "events.jsonl:2: this fact does not follow" in lines[4]
    assert lines[5].endswith("the session has no agent 'dee'; write `agent:`, one of ada, bob, cy")


def test_a_replay_needs_a_session_and_nobody_else_has_one() -> None:
    backends: list[dict[str, Any]] = [
        {"type": "replay"},
        {"type": "openai", "model": "m", "session": "s", "agent": "a"},
    ]
    with pytest.raises(ConfigError) as raised:
        parse({"agents": [{"backend": each} for each in backends]})
    assert raised.value.problems == (
        "config: agents[0].backend.session: missing; a replay backend needs it: a session's id, name or path",
        "config: agents[1].backend.session: only a backend of type replay has it",
        "config: agents[1].backend.agent: only a backend of type replay has it",
    )


def test_a_profile_that_replays_is_laid_over_any_settings(tmp_path: Path) -> None:
    """The key's variable need not be set, and the session's path is from the file where it stands."""
    (tmp_path / "sub").mkdir()
    again = {"agents": [{"id": "ada", "backend": {"type": "replay", "session": "./sessions/paris"}}]}
    live = {"id": "ada", "backend": {"type": "openai", "model": "m", "temperature": 1, "api_key": "${OPENAI_API_KEY}"}}
    (tmp_path / "sub/base.yaml").write_text(json.dumps({"agents": [live], "profiles": {"replay": again}}))
    (tmp_path / "top.yaml").write_text(json.dumps({"extends": "sub/base.yaml"}))
    found = load(tmp_path / "top.yaml", {}, profile="replay").config.agents[0].backend
    assert (found.session, found.temperature) == (str(tmp_path / "sub/sessions/paris"), 1)


@pytest.mark.parametrize(
    ("written", "found"), [("paris", "paris"), ("/paris", "/paris"), ("${HERE}/paris", "here/paris"), ("..", "{0}/..")]
)
def test_a_session_that_is_no_relative_path_stays_as_it_is_written(written: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text(json.dumps({"agent": {"backend": {"type": "replay", "session": written}}}))
    assert load(tmp_path / "team.yaml", {"HERE": "here"}).config.agents[0].backend.session == found.format(tmp_path)


def test_ballots_that_were_not_recorded_are_shuffled_by_chance() -> None:
    dice, entries = Dice([[(5,), (3,), (4, 6)]]), [(3,), (4,), (5,)]
    dice.shuffle(entries)
    assert sorted(entries) == [(3,), (4,), (5,)]
    later = [(13,), (14, 16), (15,)]
    dice.shuffle(later)
    assert later == [(15,), (13,), (14, 16)], "in a log with other numbers the order is the same"
