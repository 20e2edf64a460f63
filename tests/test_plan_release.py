"""What becomes of the tasks that an agent was doing when its turn failed: they are put back, with the reason."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from massgen import sessions
from massgen.config.loading import load
from massgen.conversation import rules
from massgen.coordination import Rules, due
from massgen.errors import Exit
from massgen.events import PlanChanged, Recorded, Resumed, Stopped, ToolReturned, TurnFailed
from massgen.log import read
from massgen.orchestrator import Times
from massgen.planning import PlannedTask
from massgen.replay.verifying import verify
from massgen.state import GONE, fold
from tests.command import ended, massgen, started, write_config
from tests.conversations import Session, Use, save, worker
from tests.facts import answering
from tests.providers import Act, Call, Reply, Simulator, call, fault, hang, say
from tests.stage import Actor, Cue

TEAM, OWN = Rules(planning="team"), Rules(planning="agent")
PLAN: Use = ("create_task_plan", {"tasks": [{"id": "a", "description": "Do a."}, {"id": "b", "description": "Do b."}]})
SLOW = 1000.0


def moved(task: str, status: str = "in_progress") -> Use:
    return ("update_task_status", {"task_id": task, "status": status})


def session(path: Path, how: Rules = TEAM, **more: Any) -> Session:
    return Session(path / "events.jsonl", how, **more)


def given_back(facts: list[Recorded]) -> list[PlanChanged]:
    found = (each.fact for each in facts)
    return [fact for fact in found if isinstance(fact, PlanChanged) and fact.turn is None]


def agrees(facts: list[Recorded], how: Rules) -> bool:
    return verify(facts, lambda asked: how).difference is None


def standing(task: PlannedTask) -> tuple[str, str, str]:
    return task.status, task.assignee, task.reason


def test_whoever_won_does_what_an_agent_was_doing_that_the_vote_cut_off(tmp_path: Path) -> None:
    how = Rules(planning="team", stop="decided")
    played = session(tmp_path, how)
    alice, bob = worker("Sky.", [PLAN]), worker("Sky.", [], [], [moved("b")], [moved("b", "completed")])
    alice.cues = bob.cues = [Cue("comply"), Cue("comply"), Cue("comply", 1), Cue("comply", 1)]  # which is bob's answer
    carol = worker("Sea.", [], [moved("b")])
    carol.cues = [Cue("comply"), Cue("comply", delay=SLOW)]
    state = played.ask("Why?", {"alice": alice, "bob": bob, "carol": carol})
    (back,) = given_back(played.facts)
    assert (back.agent, standing(back.tasks[0])) == ("carol", ("pending", "", "the vote was over"))
    assert standing(state.plans[""].tasks["b"]) == ("completed", "bob", "")
    assert "Ready: a: Do a.; b: Do b. (the vote was over)" in bob.requests[-1].messages[0].text
    assert agrees(played.facts, how)


def test_when_the_time_runs_out_what_was_begun_is_put_back_with_the_end(tmp_path: Path) -> None:
    played = session(tmp_path, times=Times(run=20))
    slow = worker("Sea.", [("get_ready_tasks", {})], [moved("b")])
    slow.cues = [Cue("comply", delay=SLOW)]
    state = played.ask("Why?", {"alice": worker("Sky.", [PLAN], [moved("a"), moved("a", "completed")]), "bob": slow})
    assert state.stopped == Stopped("timeout")
    assert [standing(task) for task in state.plans[""].tasks.values()] == [
        ("completed", "alice", ""),
        ("pending", "", "time ran out"),
    ]
    assert [type(each.fact).__name__ for each in played.facts[-5:]] == [
        "TurnFailed", "PlanChanged", "Chosen", "Presented", "Stopped",
    ]  # fmt: skip
    assert agrees(played.facts, TEAM)


def test_an_agent_that_failed_finds_its_own_plan_put_back_with_the_reason(tmp_path: Path) -> None:
    played = session(tmp_path, OWN)
    bob = worker("", [PLAN], [moved("a")])
    bob.cues = [Cue("refused")]
    state = played.ask("Why?", {"alice": worker("Sky."), "bob": bob})
    why = state.seats["bob"].left
    assert why
    assert standing(state.plans["bob"].tasks["a"]) == ("pending", "", why)
    bob = worker("Sea.")
    played.ask("And now?", {"alice": worker("Sky."), "bob": bob})
    assert f"Ready: a: Do a. ({why}); b: Do b." in bob.requests[0].messages[0].text
    assert agrees(played.facts, OWN)


def test_what_was_begun_by_somebody_who_is_not_in_the_next_questions_team_is_anyones(tmp_path: Path) -> None:
    played = session(tmp_path)
    played.ask("Why?", {"alice": worker("Sky.", [PLAN], [moved("a")]), "bob": worker("Sea.")})
    assert not given_back(played.facts)
    state = played.ask("And now?", {"bob": worker("Sea.", [moved("a")]), "carol": worker("Sky.")})
    (back,) = given_back(played.facts)
    assert (back.agent, standing(back.tasks[0])) == ("alice", ("pending", "", GONE))
    assert standing(state.plans[""].tasks["a"]) == ("in_progress", "bob", GONE)
    assert agrees(played.facts, TEAM)


def test_who_is_interrupted_keeps_its_task_and_takes_its_turn_up(tmp_path: Path) -> None:
    played = session(tmp_path)
    alice = worker("Sky.", [PLAN], [moved("a")])
    alice.cues = [Cue("comply", delay=SLOW)]
    played.ask("Why?", {"alice": alice, "bob": worker("Sea.")}, until=20.0)
    state = played.resume({"alice": worker("Sky."), "bob": worker("Sea.")})
    assert state.plans[""].tasks["a"].assignee == "alice"
    assert not given_back(played.facts)
    assert agrees(played.facts, TEAM)


@pytest.mark.parametrize("how", [TEAM, OWN])
def test_a_release_that_a_crash_cut_off_comes_before_the_agent_is_asked_again(tmp_path: Path, how: Rules) -> None:
    played = session(tmp_path, how)
    bob = worker("", [PLAN], [moved("a")])
    bob.cues = [Cue("refused")]
    state = played.ask("Why?", {"alice": worker("Sky."), "bob": bob})
    failed = next(each for each in played.facts if isinstance(each.fact, TurnFailed))
    save(played.facts[: failed.seq], played.path)
    bob = worker("Sea.", [moved("a")], [moved("a", "completed")])
    after = played.resume({"alice": worker("Sky."), "bob": bob})
    asked, back, *_ = (each.fact for each in played.facts[failed.seq :])
    assert isinstance(asked, Resumed)
    assert isinstance(back, PlanChanged)
    assert (back.agent, back.turn, standing(back.tasks[0])) == ("bob", None, ("pending", "", state.seats["bob"].left))
    assert "Ready: a: Do a. (" in bob.requests[0].messages[0].text
    assert len(given_back(played.facts)) == 1, "what it begins in its next turn is its own"
    assert {plan.tasks["a"].status for plan in after.plans.values()} == {"completed"}
    assert agrees(played.facts, how)


@pytest.mark.parametrize("how", [TEAM, OWN])
def test_a_release_that_a_crash_cut_off_comes_before_another_question(tmp_path: Path, how: Rules) -> None:
    played = session(tmp_path, how)
    bob = worker("", [PLAN], [moved("a")])
    bob.cues = [Cue("refused")]
    why = played.ask("Why?", {"alice": worker("Sky."), "bob": bob}).seats["bob"].left
    failed = next(each for each in played.facts if isinstance(each.fact, TurnFailed))
    save(played.facts[: failed.seq], played.path)
    bob = worker("Sea.")
    played.ask("And now?", {"alice": worker("Sky."), "bob": bob})
    (back,) = given_back(played.facts)
    assert (back.agent, standing(back.tasks[0])) == ("bob", ("pending", "", why))
    assert f"Ready: a: Do a. ({why}); b: Do b." in bob.requests[0].messages[0].text
    assert agrees(played.facts, how)


def test_who_failed_is_told_who_does_its_task_now(tmp_path: Path) -> None:
    played = session(tmp_path)
    alice = worker("Sky.", [PLAN], [("get_ready_tasks", {})], [("get_ready_tasks", {})], [moved("a")])
    bob = worker("", [("get_ready_tasks", {})], [moved("a")])
    alice.cues, bob.cues = [Cue("comply", delay=SLOW)], [Cue("refused")]
    played.ask("Why?", {"alice": alice, "bob": bob}, until=20.0)
    bob = worker("Sea.")
    played.resume({"alice": worker("Sky."), "bob": bob})
    assert "You were doing a, when your turn failed: alice is doing it now." in bob.requests[0].messages[0].text


def test_what_nobody_began_is_put_back_by_nobody() -> None:
    """As no tool leaves it, but a file from elsewhere may."""
    run = answering(2).plan("alice", PlannedTask("a", "Do a.", status="in_progress")).fail("alice", "gone")
    assert not due(fold(run.facts), TEAM)


USES: list[Use] = [moved("a"), moved("a", "completed"), moved("b"), ("get_ready_tasks", {})]
ENDS = [Cue("comply"), Cue("refused"), Cue("comply", delay=SLOW)]
_lives = st.lists(st.tuples(st.lists(st.sampled_from(USES), max_size=5), st.sampled_from(ENDS)), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(_lives, _lives, st.sampled_from(["agent", "team"]), st.sampled_from([7.0, 1800.0]), st.floats(0, 1))
def test_whatever_fails_is_cut_off_or_killed_nobody_holds_a_task_whose_turn_failed(
    first: Any, second: Any, scope: Any, seconds: float, where: float
) -> None:
    with TemporaryDirectory() as folder:
        played = session(Path(folder), Rules(planning=scope, stop="decided"), times=Times(run=seconds))
        played.ask("Why?", cast(first))
        save(played.facts[: 1 + int(where * len(played.facts))], played.path)
        state = fold(played.facts)
        if state.unfinished:
            state = played.resume(cast(second))
        facts = played.facts
    assert agrees(facts, played.rules)
    for task in (task for plan in state.plans.values() for task in plan.tasks.values() if task.status == "in_progress"):
        seat = state.seats[task.assignee]
        assert (seat.left, seat.failed) == ("", "")


def cast(lives: list[tuple[list[Use], Cue]]) -> dict[str, Actor]:
    """Each works by its plan, then comes to its end."""
    found: dict[str, Actor] = {}
    for name, (uses, end) in zip("xyz", lives, strict=False):
        found[name] = worker(f"{name} says so.", [PLAN], *([use] for use in uses))
        found[name].cues = [end]
    return found


# --- the command, killed -------------------------------------------------------------------------------------------------


def use(tool: Use) -> Reply:
    name, arguments = tool
    return Reply(acts=(Act(name, json.dumps(arguments)),))


SCRIPTS = {
    "m1": [PLAN, moved("a"), moved("a", "completed"), moved("b")],
    "m2": [moved("b")],
}
"""What each does in its first turn, and m2 in each of its two."""


@dataclass
class Planners:
    """m1 makes the plan, begins a and is silent; m2 begins b and is refused by its provider. In the second life of the command
    m1 takes b as well, and m2, which is asked anew, wants it, too."""

    living: bool = False
    asked: list[Call] = field(default_factory=list[Call])
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once m1 has a."""
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once m1 has b."""

    def __call__(self, asked: Call) -> Reply:
        self.asked.append(asked)
        if "vote" in asked.tools:
            (label, *_) = asked.tools["vote"]["properties"]["agent_id"]["enum"]
            return call("vote", agent_id=label, reason="Right.")
        return self._at_work(asked) if "new_answer" in asked.tools else say("All is done.")

    def _at_work(self, asked: Call) -> Reply:
        count, script = sum(each["role"] == "tool" for each in asked.messages), SCRIPTS[asked.model]
        if asked.model == "m1" and count == 2:
            self.begun.set()
        if asked.model == "m1" and count == len(script):
            self.taken.set()
        if not self.living and (count, asked.model) in ((2, "m1"), (1, "m2")):
            return hang() if asked.model == "m1" else fault(status=401, message="no more of this")
        reply = use(script[count]) if count < len(script) else call("new_answer", content=f"{asked.model} is done")
        return replace(reply, gate=self.taken if self.living else self.begun) if asked.model == "m2" else reply


async def test_killed_right_after_the_failure_the_task_is_free_and_who_had_it_is_told(tmp_path: Path) -> None:
    planners = Planners()
    async with Simulator(planners) as simulator:
        how = {"enable_agent_task_planning": True, "plan_scope": "team"}
        config = write_config(tmp_path / "team.yaml", simulator.base_url, 2, orchestrator={"coordination": how})
        async with started("--json", "--config", str(config), "Do it.") as process, asyncio.timeout(20):
            assert process.stdout
            while b'"TurnFailed"' not in await process.stdout.readline():
                continue
            process.kill()
            await ended(process)
        (folder,) = (tmp_path / "home/data/sessions").iterdir()
        log = folder / sessions.LOG_NAME
        failed = next(each for each in read(log) if isinstance(each.fact, TurnFailed))
        save(read(log)[: failed.seq], log)  # what came in the instant between is not certain
        planners.living, planners.asked = True, []
        ran = await massgen("--continue")
    assert (ran.code, ran.out) == (Exit.ANSWER, "All is done.\n"), ran.err
    facts = [*read(log)]
    assert [(fact.agent, fact.tasks[0].id) for fact in given_back(facts)] == [("m2", "b")]
    assert isinstance(facts[failed.seq + 1].fact, PlanChanged), "before anybody is asked"
    told = next(each for each in planners.asked if each.model == "m2").messages[0]
    assert "You were doing b, when your turn failed: it was put back." in str(told["content"])
    assert "Ready: b: Do b. (" in str(told["content"])
    (refused,) = [each.fact for each in facts if isinstance(each.fact, ToolReturned) and each.fact.is_error]
    assert refused.agent == "m2"
    assert "b is being done by m1" in refused.content
    assert agrees(facts, rules(load(config).config.orchestrator))
