"""`massgen plan show`: a session's plans as people and scripts read them."""

import json
from pathlib import Path

import pytest

from massgen import sessions
from massgen.commands.plan_show import show, shown
from massgen.errors import LogError, UsageError
from massgen.events import PlanChanged
from massgen.plan_words import news
from massgen.planning import Plan, PlannedTask, changed
from massgen.planning.tools import call
from tests.conversations import GOLDEN
from tests.facts import Run, whole
from tests.test_session_index import IDS, written


def ran(*arguments: str) -> None:
    show.main([*arguments], standalone_mode=False, help_option_names=["-h", "--help"])


def kept(run: Run) -> Path:
    return written(sessions.folder(), IDS[0], run.facts).parent


@pytest.fixture
def planned() -> Path:
    """The session of the golden log with a plan."""
    return kept_bytes((GOLDEN / "format-1-plan.jsonl").read_bytes())


def kept_bytes(log: bytes) -> Path:
    folder = sessions.folder() / IDS[0]
    folder.mkdir(parents=True)
    (folder / sessions.LOG_NAME).write_bytes(log)
    return folder


def test_the_plan_of_the_latest_session_is_shown_as_it_stands(
    planned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran()
    out, err = capsys.readouterr()
    assert err == f"massgen: session {planned.name}\n"
    why = "was put back: it is not in the team that the session goes on with"
    assert out.splitlines() == [
        "The plan of the team: 2 of 4 tasks completed: 0 in progress, 2 ready, 0 blocked",
        "[x] read: Read what there is (completed by alice in 1.0 s)",
        "[x] check: Check the dates (completed by alice)",
        f"[ ] write: Write the answer (ready; {why})",
        "[ ] t4: Thank everybody (ready)",
    ]


def test_a_session_that_is_kept_elsewhere_is_found_there(
    planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned.parent.rename(tmp_path / "elsewhere")
    ran("--session-dir", "elsewhere")
    assert "2 of 4 tasks completed" in capsys.readouterr().out


def test_scripts_get_every_field_and_what_is_ready(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran(str(planned), "--json")
    (plan,) = json.loads(capsys.readouterr().out)
    assert (plan["of"], plan["completed"], plan["count"], plan["ready"]) == (None, 2, 4, ["write", "t4"])
    assert plan["tasks"][1]["depends_on"] == ["read"]
    assert plan["tasks"][2] | {"reason": "", "created": 0} == {
        "id": "write",
        "description": "Write the answer",
        "depends_on": ["check"],
        "status": "pending",
        "priority": "medium",
        "parent": "",
        "assignee": "",
        "metadata": {},
        "context": "In a sentence.",
        "reason": "",
        "created": 0,
        "started": 0.0,
        "ended": 0.0,
        "waits_for": [],
    }


def test_a_plan_that_is_made_anew_is_told_as_one_though_its_tasks_are_called_as_the_old_ones() -> None:
    plan, told = Plan(), list[str]()
    for at, tasks in enumerate((["Dig."], ["Dig deep.", "Plant."], ["Plant."])):
        change = call(plan, "create_task_plan", {"tasks": tasks}, agent="ann", at=float(at)).change
        assert change
        for agent in ("ann", ""):
            told.append(news(plan, PlanChanged(agent, 1, "", change.tasks, change.deleted, change.order)))
        plan = changed(plan, change)
    assert told == [
        "planned 1 task", "a plan of 1 task was given",
        "planned 2 tasks", "a plan of 2 tasks was given",
        "planned 1 task", "a plan of 1 task was given",
    ]  # fmt: skip


def test_what_agents_wrote_down_stands_below_its_task() -> None:
    found = {"failed": 131, "cause": "c-207\x1b[2J", "by": ["v411", "größer"]}
    plan = Plan(
        {"a": PlannedTask("a", "Count", metadata=found), "b": PlannedTask("b", "More", parent="a", metadata=found)}
    )
    note = 'failed: 131; cause: c-207; by: ["v411", "größer"]'
    assert shown(plan).splitlines()[1:] == [
        "[ ] a: Count (waits for b)",
        f"    {note}",
        "    [ ] b: More (ready)",
        f"        {note}",
    ]


def test_each_agents_own_plan_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    run = whole(2).ask(after=60).begin("answer")
    for name in run.names:
        run.plan(name, PlannedTask("t1", "Read\x1b[2J it", status="completed", assignee=name), plan=name)
    folder = kept(run)
    ran(str(folder))
    assert capsys.readouterr().out.split("\n\n")[1].splitlines() == [
        "The plan of bob: 1 of 1 tasks completed",
        "[x] t1: Read it (completed by bob)",
    ]
    ran(str(folder), "--json")
    assert [each["of"] for each in json.loads(capsys.readouterr().out)] == ["alice", "bob"]


def test_parts_stand_below_what_they_are_parts_of_and_wait_for_more_than_is_told() -> None:
    many = [PlannedTask(f"t{number}", "It") for number in range(1, 8)]
    whole_ = PlannedTask("all", "Everything", depends_on=tuple(task.id for task in many), assignee="bob")
    parts = [PlannedTask("part", "One", parent="all"), PlannedTask("piece", "Of it", parent="part")]
    text = shown(Plan({task.id: task for task in (parts[1], whole_, parts[0], *many)}))
    waits = "t1, t2, t3, t4, t5 and"
    assert text.splitlines()[:4] == [
        "0 of 10 tasks completed: 0 in progress, 7 ready, 3 blocked",
        f"[ ] all: Everything (waits for {waits} 3 more, meant for bob)",
        "    [ ] part: One (waits for piece, t1, t2, t3, t4 and 3 more)",
        f"        [ ] piece: Of it (waits for {waits} 2 more)",
    ]


def test_of_a_part_of_a_log_what_is_there_is_shown() -> None:
    ring = [PlannedTask("a", "A", parent="b"), PlannedTask("b", "B", parent="a", depends_on=("gone",))]
    assert shown(Plan({task.id: task for task in ring})).splitlines()[1:] == [
        "[ ] a: A (waits for b)",
        "    [ ] b: B (waits for a)",
    ]


def test_a_session_without_a_plan_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(kept(whole(1)))
    ran(folder)
    assert capsys.readouterr().out == "There is no plan in this session.\n"
    ran(folder, "--json")
    assert capsys.readouterr().out == "[]\n"


def test_what_cannot_be_read_is_told_with_its_place() -> None:
    with pytest.raises(UsageError, match="there is no session '2020'"):
        ran("2020")
    folder = kept_bytes(b'{"massgen": "session log", "format": 1}\n\0\0\n')
    with pytest.raises(LogError, match=r"events\.jsonl:2: this line is damaged"):
        ran(str(folder))
