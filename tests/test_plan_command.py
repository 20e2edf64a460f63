"""`massgen plan`: a team agrees on a plan; as a file it is read back, changed or not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from massgen.errors import Exit, UsageError
from massgen.planning import Plan, PlannedTask, changed
from massgen.planning import files as plan_files
from massgen.planning.tools import TOOLS
from tests.command import massgen, write_config
from tests.providers import Simulator, Team, call, fault, hang
from tests.providers.policy import Call, Policy, Reply

PLAN = Plan(
    {
        "a": PlannedTask("a", "Write it.", priority="high", context="In C."),
        "b": PlannedTask("b", "Test it.", depends_on=("a",), metadata={"hours": 2}),
        "b1": PlannedTask("b1", "On Ünix.", parent="b", status="pending"),
    }
)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(plan_files.written(PLAN), "utf-8")
    read = changed(Plan(), plan_files.read(file, 0.0))
    assert read.tasks == PLAN.tasks


def test_json_and_a_bare_list_are_taken_too(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text('["Write it.", {"description": "Test it.", "depends_on": [0]}]')
    tasks = [*changed(Plan(), plan_files.read(file, 1.0)).tasks.values()]
    assert [(task.description, task.created) for task in tasks] == [("Write it.", 1.0), ("Test it.", 1.0)]
    assert tasks[1].depends_on == (tasks[0].id,)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "that is no plan"),
        (b"tasks: [", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"tasks: 7", "that is no plan"),
        (b"- {id: a, description: x, depends_on: [b]}", "Not in the plan: a -> b"),
        (b"- {id: a, description: x, depends_on: [a]}", "circle"),
        (b"- {id: a, description: x, color: red}", "color"),
        (b"[" * 100_000, "cannot be read"),
        (b"x" * 1_000_001, "larger than"),
        (b"tasks: ['']", "that is no plan: tasks\\[0\\] must be a text"),
        (
            b"- {id: a, description: x, 1: y, 2026-12-01: z, color: red}",
            "takes no '1', '2026-12-01', 'color'; it takes desc",
        ),
        (b"- id: a\n  description: x\n  id: b\n  description: y", "'id' is there twice in .* line 3"),
    ],
)
def test_what_is_no_plan_is_told_with_the_file(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=words) as error:
        plan_files.read(file, 0.0)
    assert str(file) in str(error.value)
    with pytest.raises(UsageError, match="cannot be read"):
        plan_files.read(tmp_path / "gone.yaml", 0.0)


def test_a_plan_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(UsageError, match="larger than"):
        plan_files.read(Path("/dev/zero"), 0.0)


def test_a_date_is_the_text_that_it_is(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("- {description: 2026-12-24, metadata: {due: 2026-12-01, hours: 2, at: 2026-12-01 10:00:00}}")
    (task,) = changed(Plan(), plan_files.read(file, 0.0)).tasks.values()
    assert (task.description, task.metadata) == (
        "2026-12-24",
        {"due": "2026-12-01", "hours": 2, "at": "2026-12-01 10:00:00"},
    )
    file.write_text(plan_files.written(Plan({task.id: task})))
    assert [*changed(Plan(), plan_files.read(file, 0.0)).tasks.values()] == [task]


def planner(asked: Call) -> Reply:
    """Plans, then answers, votes and presents as a team does."""
    said = [message for message in asked.messages if message["role"] == "tool"]
    if "create_task_plan" in asked.tools and not said and "vote" not in asked.tools:
        return call("create_task_plan", tasks=["Write it.", {"description": "Test it.", "depends_on": [0]}])
    act = "vote" if "vote" in asked.tools else "new_answer"
    acts = {name: schema for name, schema in asked.tools.items() if name == act}
    return Team(answer="First write, then test.", final="Write, then test.")(replace(asked, tools=acts))


async def test_a_team_agrees_on_a_plan_and_does_none_of_it(tmp_path: Path) -> None:
    async with Simulator(planner) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=2))
        ran = await massgen("plan", "--config", config, "A sorted list")
        into = await massgen("plan", "--config", config, "-q", "-o", "plan.yaml", "A sorted list", cwd=tmp_path)
    assert ran.code == Exit.ANSWER
    (tmp_path / "printed.yaml").write_text(ran.out)
    tasks = [*changed(Plan(), plan_files.read(tmp_path / "printed.yaml", 0.0)).tasks.values()]
    assert [task.description for task in tasks] == ["Write it.", "Test it."]
    assert (tmp_path / "plan.yaml").read_text() == ran.out
    assert 'a plan of 2 tasks; to carry it out: massgen --plan plan.yaml "go"' in into.err


async def test_a_plan_that_its_file_does_not_take_goes_to_stdout(tmp_path: Path) -> None:
    async with Simulator(planner) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=2))
        ran = await massgen("plan", "-q", "--config", config, "-o", "/dev/full", "A sorted list")
        minus = await massgen("plan", "-q", "--config", config, "-o", "-", "A sorted list", cwd=tmp_path)
    assert ran.code == Exit.NO_ANSWER
    assert "/dev/full: the output file cannot be written (No space left on device)" in ran.err
    assert ran.out == minus.out
    assert "Write it." in ran.out
    assert not (tmp_path / "-").exists()


async def test_a_plan_that_was_not_agreed_on_in_time_is_told_to_be_the_best_so_far(tmp_path: Path) -> None:
    def policy(asked: Call) -> Reply:
        return hang() if "vote" in asked.tools else planner(asked)

    async with Simulator(policy) as simulator:
        limits = {"orchestrator_timeout_seconds": 2}
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, 2, timeout_settings=limits))
        ran = await massgen("plan", "-q", "--config", config, "A sorted list")
    assert (ran.code, "Write it." in ran.out) == (Exit.PARTIAL, True)
    assert "massgen: time ran out; the best answer so far follows\n" in ran.err


async def test_why_nobody_could_make_a_plan_is_told_of_each(tmp_path: Path) -> None:
    async with Simulator(lambda asked: fault(status=401, message=f"no key of {asked.model}")) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=2))
        ran = await massgen("plan", "-q", "--config", config, "A sorted list")
    assert (ran.code, ran.out) == (Exit.NO_ANSWER, "")
    assert all(f"no key of {name}" in ran.err for name in ("m1", "m2"))
    assert "massgen: no plan was made (no answer); session " in ran.err


async def test_nobody_who_goes_on_with_the_session_of_a_plan_has_tools_by_which_the_work_could_begin(
    tmp_path: Path,
) -> None:
    desk = {"desk": {"command": "no such program"}}
    async with Simulator(planner) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, 2, mcp_servers=desk, tools=["os:getcwd"])
        team = yaml.safe_load(config.read_text()) | {"tool_access": {"getcwd": "read", "mcp__desk__*": "write"}}
        team["agents"][0] |= {"mcp_servers": {"own": desk["desk"]}, "allowed_tools": ["getcwd", "mcp__own__*"]}
        team["agents"][0]["backend"] |= {"mcp_servers": desk, "exclude_tools": ["mcp__desk__send"]}
        config.write_text(yaml.safe_dump(team))
        assert (await massgen("plan", "-q", "--config", str(config), "A sorted list")).code == Exit.ANSWER
        (session,) = (tmp_path / "home/data/sessions").iterdir()
        ran = await massgen("--continue", session.name, "go")
        offered = {name for each in simulator.calls for name in (each.call.tools if each.call else ())}
    assert (ran.code, "desk" in ran.err) == (Exit.ANSWER, False)
    assert offered == {tool.name for tool in TOOLS} | {"new_answer", "vote"}


async def test_a_team_that_makes_no_plan_is_told_so(tmp_path: Path) -> None:
    async with Simulator(Team()) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=1))
        ran = await massgen("plan", "--config", config, "A sorted list")
    assert (ran.code, ran.out) == (Exit.NO_ANSWER, "")
    assert "massgen: no plan was made (answered); session " in ran.err


async def test_models_without_tools_make_no_plan(tmp_path: Path) -> None:
    ran = await massgen("plan", "A sorted list")
    assert ran.code == Exit.USAGE
    assert "agents of the types local and replay make no plans" in ran.err


# --- carrying it out -----------------------------------------------------------------------------------------------


def doer() -> Policy:
    """A team that takes what is ready until nothing is left, then answers, votes and presents."""
    team = Team(answer="Done.", final="All is done.")

    def policy(asked: Call) -> Reply:
        acts = {name: schema for name, schema in asked.tools.items() if name in ("new_answer", "vote")}
        told = [str(message["content"]) for message in asked.messages if message["role"] == "tool"]
        last: dict[str, Any] = json.loads(told[-1]) if told else {}
        doing = last.get("task", {}).get("status") == "in_progress"
        if acts.keys() != {"new_answer"} or last.get("ready") == []:
            return team(replace(asked, tools=acts))
        if ready := last.get("ready"):
            return call("update_task_status", task_id=ready[0]["id"], status="in_progress")
        if doing:
            return call("update_task_status", task_id=last["task"]["id"], status="completed")
        return call("get_ready_tasks")

    return policy


async def test_a_team_carries_out_a_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(plan_files.written(PLAN), "utf-8")
    async with Simulator(doer()) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=2))
        ran = await massgen("--config", config, "--plan", "plan.yaml", "-v", "go", cwd=tmp_path)
    assert (ran.code, ran.out) == (Exit.ANSWER, "All is done.\n")
    assert "a plan of 3 tasks was given\n" in ran.err
    shown = await massgen("plan", "show")
    assert "3 of 3 tasks completed" in shown.out
    assert (await massgen("verify")).code == 0


async def test_a_plan_that_is_none_is_told_before_anything_is_spent(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("tasks: []")
    async with Simulator(doer()) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, agents=2))
        ran = await massgen("--config", config, "--plan", "plan.yaml", "go", cwd=tmp_path)
        assert simulator.calls == []
    assert ran.code == Exit.USAGE
    assert "plan.yaml: that is no plan: " in ran.err
