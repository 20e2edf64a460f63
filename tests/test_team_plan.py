"""A team that works by one plan, end to end: who takes what, what becomes of it if one leaves, and after `kill -9`."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from massgen import sessions
from massgen.config.loading import load
from massgen.conversation import Conversation, rules
from massgen.display import NoView
from massgen.display.view import View
from massgen.errors import Exit
from massgen.events import Asked, PlanChanged, Recorded, ToolReturned, TurnFailed
from massgen.log import read
from massgen.messages import Chunk
from massgen.plan_words import Standing
from massgen.planning import Plan
from massgen.planning import files as plan_files
from massgen.replay.verifying import verify
from massgen.state import fold
from tests.command import ended, massgen, started, write_config
from tests.providers import Call, Reply, Simulator, call, fault, hang, say

pytestmark = pytest.mark.timeout(40)
PLAN = {"tasks": [{"id": name, "description": f"Task {name}."} for name in "abc"]}


def start(task: str) -> Reply:
    return call("update_task_status", task_id=task, status="in_progress")


def done(task: str) -> Reply:
    return call("update_task_status", task_id=task, status="completed")


FIRST = {
    "m1": [call("create_task_plan", **PLAN), start("a"), done("a")],
    "m2": [start("a"), start("b"), done("b")],  # the first is m1's already
    "m3": [start("c")],
}
"""What each does in its first turn."""
IN_THE_VOTE = {"m1": [start("c"), done("c")]}
STOPS = {"m1": 3, "m2": 2, "m3": 1}
"""After so many results nobody says anything any more, in the first life of the command."""


@dataclass
class Planners:
    """Three models. m3 is refused by its provider in the second life, with its task begun."""

    living: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once m1 has its task."""

    def __call__(self, asked: Call) -> Reply:
        count = sum(each["role"] == "tool" for each in asked.messages)
        if asked.model == "m1" and count == 2:
            self.begun.set()
        if not self.living and count == STOPS[asked.model]:
            return hang()
        if asked.model == "m3" and count:
            return fault(status=401, message="no more of this")
        return self._reply(asked, count)

    def _reply(self, asked: Call, count: int) -> Reply:
        script = (IN_THE_VOTE if "vote" in asked.tools else FIRST).get(asked.model, [])
        if "new_answer" not in asked.tools:
            return say("All is done.")
        if count < len(script):
            return script[count] if asked.model == "m1" else replace(script[count], gate=self.begun)
        if "vote" not in asked.tools:
            return call("new_answer", content=f"{asked.model} is done")
        (label, *_) = asked.tools["vote"]["properties"]["agent_id"]["enum"]
        return call("vote", agent_id=label, reason="Right.")


async def test_a_team_divides_its_tasks_one_dies_and_all_is_done_across_a_kill(tmp_path: Path) -> None:
    planners = Planners()
    async with Simulator(planners) as simulator:
        coordination = {"enable_agent_task_planning": True, "plan_scope": "team"}
        config = write_config(
            tmp_path / "team.yaml", simulator.base_url, 3, orchestrator={"coordination": coordination}
        )
        async with started("--config", str(config), "Do it.") as process, asyncio.timeout(20):
            await simulator.until(lambda: len(simulator.calls) == sum(STOPS.values()) + len(STOPS))
            process.kill()
            await ended(process)
        (session,) = (tmp_path / "home/data/sessions").iterdir()
        before = fold(read(session / sessions.LOG_NAME)).plans[""]
        assert tasks(before) == {"a": ("completed", "m1"), "b": ("in_progress", "m2"), "c": ("in_progress", "m3")}
        planners.living = True
        ran = await massgen("--continue")
    assert (ran.code, ran.out) == (Exit.ANSWER, "All is done.\n"), ran.err
    facts = [*read(session / sessions.LOG_NAME)]
    after = fold(facts).plans[""]
    assert tasks(after) == {"a": ("completed", "m1"), "b": ("completed", "m2"), "c": ("completed", "m1")}
    assert [each.fact.agent for each in facts if isinstance(each.fact, TurnFailed)] == ["m3"]
    made = [each.fact for each in facts if isinstance(each.fact, PlanChanged)]
    assert len(made) == 9, "nothing is done twice, and what m3 had is released"
    (refused,) = [each.fact for each in facts if isinstance(each.fact, ToolReturned) and each.fact.is_error]
    assert refused.agent == "m2"
    own = rules(load(config).config.orchestrator)
    assert verify(facts, lambda asked: own).difference is None


def tasks(plan: Plan) -> dict[str, tuple[str, str]]:
    return {name: (each.status, each.assignee) for name, each in plan.tasks.items()}


class Seen(NoView):
    """A display: where the team's plan stands for it when the question comes."""

    def __init__(self) -> None:
        self.view, self.at_first = View(), None
        self.facts: list[Recorded] = []

    at_first: Standing | None

    def fact(self, recorded: Recorded) -> None:
        self.view.fact(recorded)
        self.facts.append(recorded)
        if isinstance(recorded.fact, Asked):
            self.at_first = self.view.plans.get("")


class Heard:
    """A sink that is no display."""

    def __init__(self) -> None:
        self.facts: list[Recorded] = []

    def fact(self, recorded: Recorded) -> None:
        self.facts.append(recorded)

    def delta(self, agent: str, chunk: Chunk) -> None:
        pass


def planner(asked: Call) -> Reply:
    """Makes a plan and does the first of its tasks. Asked again it does the second."""
    count = sum(each["role"] == "tool" for each in asked.messages)
    script = [start("b"), done("b")] if "Again." in str(asked.messages) else FIRST["m1"]
    return script[count] if count < len(script) else say("Done.")


async def test_a_display_of_a_later_question_knows_the_whole_plan_and_no_other_sink_hears_of_what_was(
    tmp_path: Path,
) -> None:
    silent = [hang()]  # to the first call of the second question
    async with Simulator(
        lambda asked: silent.pop() if silent and "Again." in str(asked.messages) else planner(asked)
    ) as simulator:
        how = {"enable_agent_task_planning": True, "plan_scope": "team"}
        config = load(write_config(tmp_path / "team.yaml", simulator.base_url, 1, orchestrator={"coordination": how}))
        seen, heard = [Seen() for _ in range(3)], [Heard() for _ in range(3)]
        async with Conversation(config, session_dir=tmp_path) as conversation:
            await conversation.ask("Do it.", sinks=[seen[0], heard[0]])
            asking = asyncio.ensure_future(conversation.ask("Again.", sinks=[seen[1], heard[1]]))
            await simulator.until(lambda: not silent)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        async with Conversation(config, session=conversation.folder) as conversation:
            await conversation.finish(sinks=[seen[2], heard[2]])
    before = Standing(1, 3, (), 2, 0)
    assert [each.at_first for each in seen] == [None, before, before]
    assert [each.view.plans[""] for each in seen] == [before, before, Standing(2, 3, (), 1, 0)]
    assert [each.facts[0].fact for each in heard] == [heard[0].facts[0].fact, *[heard[2].facts[0].fact] * 2]
    assert all(isinstance(each.facts[0].fact, Asked) for each in heard)


async def test_a_plan_that_is_given_takes_the_place_of_the_teams_as_it_stands_in_its_file_however_long(
    tmp_path: Path,
) -> None:
    files = {"first": "[{id: a, description: A}, {id: gone, description: G}, {id: b, description: B}]"}
    files["second"] = "[{id: b, description: B}, {id: c, description: C}, {id: a, description: A}]"
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    async with Simulator(lambda asked: say("Done.")) as simulator:
        how = {"enable_agent_task_planning": True, "plan_scope": "team", "max_tasks_per_plan": 2}
        config = load(write_config(tmp_path / "team.yaml", simulator.base_url, 1, orchestrator={"coordination": how}))
        async with Conversation(config, session_dir=tmp_path) as conversation:
            for name in files:
                await conversation.ask("Do it.", plan=plan_files.read(tmp_path / name, 1.0))
            assert [*conversation.state.plans[""].tasks] == ["b", "c", "a"]
            session = conversation.folder
    assert session
    facts = [*read(session / sessions.LOG_NAME)]
    assert [*fold(facts).plans[""].tasks] == ["b", "c", "a"]
    own = rules(config.config.orchestrator)
    assert verify(facts, lambda asked: own).difference is None
