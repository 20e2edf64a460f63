import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from massgen.log.codec import decode, encode
from massgen.planning import MOST_TASKS, Change, Plan, changed, released
from massgen.planning.arguments import LONGEST
from massgen.planning.tools import PROSE, TOOLS, call

NAMES = [tool.name for tool in TOOLS]
PARAMETERS: dict[str, Any] = {tool.name: Draft202012Validator(tool.parameters) for tool in TOOLS}
RESULTS: dict[str, Any] = {tool.name: Draft202012Validator(tool.result) for tool in TOOLS}


class Desk:
    """A plan and the calls upon it; every result is held to its schema and every change to the log's own form."""

    def __init__(self, plan: Plan | None = None, agent: str = "one") -> None:
        self.plan, self.agent = plan or Plan(), agent

    def ask(self, tool: str, /, agent: str = "", **arguments: Any) -> Any:
        """The result, of a call that is accepted."""
        outcome = call(self.plan, tool, arguments, agent=agent or self.agent, at=3.0)
        assert not outcome.is_error, outcome.result
        RESULTS[tool].validate(json.loads(json.dumps(outcome.result)))
        if outcome.change:
            assert decode(Change, json.loads(json.dumps(encode(outcome.change)))) == outcome.change
            self.plan = changed(self.plan, outcome.change)
        return outcome.result

    def refused(self, tool: str, /, agent: str = "", **arguments: Any) -> str:
        outcome = call(self.plan, tool, arguments, agent=agent or self.agent, at=3.0)
        assert (outcome.is_error, outcome.change, [*outcome.result]) == (True, None, ["error"])
        return outcome.result["error"]

    def needs(self) -> dict[str, list[str]]:
        return {name: [*task.depends_on] for name, task in self.plan.tasks.items()}


@pytest.fixture
def desk() -> Desk:
    """t1; t2 after t1; t3 after both."""
    desk = Desk()
    desk.ask(
        "create_task_plan",
        tasks=["Read", {"description": "Write", "depends_on": [0]}, {"description": "Send", "depends_on": [0, "t2"]}],
    )
    return desk


# --- what models read ---


def test_the_tools_have_the_names_and_parameters_that_are_known():
    parameters = {tool.name: [*tool.parameters["properties"]] for tool in TOOLS}
    assert parameters == {
        "create_task_plan": ["tasks"],
        "add_task": ["description", "after_task_id", "depends_on", "priority", "metadata", "parent"],
        "update_task_status": ["task_id", "status"],
        "edit_task": ["task_id", "description", "depends_on", "priority", "metadata"],
        "get_task_plan": [],
        "delete_task": ["task_id"],
        "get_ready_tasks": [],
        "get_blocked_tasks": [],
    }


def test_every_schema_is_one_and_is_strict():
    for schema in (each for tool in TOOLS for each in (tool.parameters, tool.result)):
        Draft202012Validator.check_schema(schema)
        text = json.dumps(schema)
        assert text.count('"properties": {') == text.count('"additionalProperties": false') > 0


def test_what_all_tools_cost_a_model_to_read_is_little():
    told = [{"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in TOOLS]
    assert len(json.dumps(told)) < 5000
    assert all(len(text) < 120 for text in PROSE.values())


def test_hints_say_what_reads_and_what_destroys():
    of = {tool.name: tool.annotations for tool in TOOLS}
    assert [name for name in NAMES if of[name]["readOnlyHint"]] == [
        "get_task_plan",
        "get_ready_tasks",
        "get_blocked_tasks",
    ]
    assert [name for name in NAMES if of[name]["destructiveHint"]] == ["create_task_plan", "delete_task"]
    assert [name for name in NAMES if not of[name]["idempotentHint"]] == ["create_task_plan", "add_task"]


# --- the calls ---


def test_a_plan_is_made_of_texts_and_objects_that_refer_by_position_or_id():
    desk = Desk()
    told = desk.ask("create_task_plan", tasks=[
        "Read",
        {"id": "draft", "description": "Write", "depends_on": [0], "priority": "high", "metadata": {"pages": [1, 2]}},
        {"description": "Send", "depends_on": ["draft", "t1"], "context": "by post"},
        {"description": "Address", "parent": 2},
    ])  # fmt: skip
    assert told == {"tasks": ["t1", "draft", "t2", "t3"], "ready": ["t1"], "progress": "0/4"}
    assert desk.needs() == {"t1": [], "draft": ["t1"], "t2": ["draft", "t1"], "t3": []}
    assert (desk.plan.tasks["t3"].parent, desk.plan.tasks["t2"].context) == ("t2", "by post")
    assert {task.created for task in desk.plan.tasks.values()} == {3.0}


def test_a_task_is_started_and_completed_and_what_became_ready_is_told(desk: Desk):
    started = desk.ask("update_task_status", task_id="t1", status="in_progress")
    assert started == {
        "task": {"id": "t1", "status": "in_progress", "description": "Read"},
        "newly_ready": [],
        "progress": "0/3",
    }
    done = desk.ask("update_task_status", task_id="t1", status="completed")
    assert done["newly_ready"] == [{"id": "t2", "description": "Write"}]
    assert done["progress"] == "1/3"
    assert (
        call(desk.plan, "update_task_status", {"task_id": "t1", "status": "completed"}, agent="one", at=9.0).change
        is None
    )


def test_ready_and_blocked_tasks_are_told(desk: Desk):
    assert desk.ask("get_ready_tasks") == {
        "ready": [{"id": "t1", "status": "pending", "description": "Read"}],
        "progress": "0/3",
    }
    assert desk.ask("get_blocked_tasks")["blocked"] == [
        {"id": "t2", "description": "Write", "waits_for": ["t1"]},
        {"id": "t3", "description": "Send", "waits_for": ["t1", "t2"]},
    ]


def test_the_whole_plan_is_told_without_what_is_as_ever(desk: Desk):
    desk.ask(
        "add_task", description="Check", after_task_id="t1", depends_on="t1", priority="urgent", metadata={"by": "hand"}
    )
    assert desk.ask("get_task_plan")["tasks"][:2] == [
        {"id": "t1", "status": "pending", "description": "Read"},
        {
            "id": "t4", "status": "pending", "description": "Check", "priority": "high", "metadata": {"by": "hand"},
            "depends_on": ["t1"], "waits_for": ["t1"],
        },
    ]  # fmt: skip
    assert Desk().ask("get_task_plan") == {"tasks": [], "progress": "0/0"}


def test_a_task_is_added_as_a_part_of_another(desk: Desk):
    told = desk.ask("add_task", description="Skim", parent="t1")
    assert told["task"] == {"id": "t4", "status": "pending", "description": "Skim", "parent": "t1"}
    assert told["newly_ready"] == [{"id": "t4", "description": "Skim"}]
    assert desk.ask("get_blocked_tasks")["blocked"][0]["waits_for"] == ["t4"]


def test_an_edit_changes_what_is_given_and_adds_to_metadata(desk: Desk):
    desk.ask("edit_task", task_id="t3", metadata={"to": "Ann", "by": "post"})
    told = desk.ask(
        "edit_task", task_id="t3", description="Mail", priority="low", depends_on=[], metadata={"by": "mail"}
    )
    assert told["task"] == {
        "id": "t3", "status": "pending", "description": "Mail", "priority": "low", "metadata": {"to": "Ann", "by": "mail"},
    }  # fmt: skip
    assert told["newly_ready"] == [{"id": "t3", "description": "Mail"}]
    assert "Give what is to be changed" in desk.refused("edit_task", task_id="t3")
    assert "at most 2000 characters" in desk.refused("edit_task", task_id="t3", metadata={"more": "x" * 1980})


def test_a_deleted_task_may_make_its_parent_ready(desk: Desk):
    desk.ask("add_task", description="Skim", parent="t1")
    assert desk.ask("delete_task", task_id="t4") == {
        "deleted": "t4", "newly_ready": [{"id": "t1", "description": "Read"}], "progress": "0/3",
    }  # fmt: skip
    assert "Needed by t2, t3" in desk.refused("delete_task", task_id="t1")


def test_new_ids_are_free_ones(desk: Desk):
    desk.ask("delete_task", task_id="t3")
    assert desk.ask("add_task", description="Send")["task"]["id"] == "t3"
    desk.ask("delete_task", task_id="t2")
    assert desk.ask("add_task", description="Write")["task"]["id"] == "t4"
    assert Desk().ask("create_task_plan", tasks=["a", {"id": "t1", "description": "b"}, "c"])["tasks"] == [
        "t2",
        "t1",
        "t3",
    ]


def test_long_descriptions_are_told_short_where_they_only_remind():
    desk = Desk()
    desk.ask("create_task_plan", tasks=["first", {"description": "x" * 500, "depends_on": [0]}])
    assert len(desk.ask("get_blocked_tasks")["blocked"][0]["description"]) == 120
    assert len(desk.ask("get_task_plan")["tasks"][1]["description"]) == 500


# --- defects of the public MassGen ---


def test_a_hundred_and_fifty_tasks_are_refused_and_a_hundred_are_not():
    desk = Desk()
    assert "at most 100 tasks; this would be 150" in desk.refused("create_task_plan", tasks=["x"] * 150)
    desk.ask("create_task_plan", tasks=["x"] * MOST_TASKS)
    assert "at most 100" in desk.refused("add_task", description="x")
    assert "at most 3 tasks" in Desk(Plan(limit=3)).refused("create_task_plan", tasks=["x"] * 4)


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ([], "at least one task"),
        ([{"id": "a", "description": "x"}, {"id": "a", "description": "y"}], "More than one task has the id a"),
        (["x", {"description": "y", "depends_on": ["nowhere"]}], "Not in the plan: t2 -> nowhere"),
        (["x", {"description": "y", "depends_on": [2]}], "Not in the plan: t2 -> 2"),
        ([{"description": "x", "depends_on": [1]}, {"description": "y", "depends_on": [0]}], "t1 -> t2 -> t1"),
        (["x", {"description": ""}], "tasks[1].description must be a text"),
    ],
)
def test_a_plan_that_is_refused_leaves_the_old_one_whole(desk: Desk, tasks: list[Any], why: str):
    before = encode(desk.plan)
    assert why in desk.refused("create_task_plan", tasks=tasks)
    assert encode(desk.plan) == before


def test_a_task_is_not_completed_before_what_it_depends_on(desk: Desk):
    assert "t2 was not started" in desk.refused("update_task_status", task_id="t2", status="completed")
    assert "t2 cannot be in_progress while it waits for t1 (pending)" in desk.refused(
        "update_task_status", task_id="t2", status="in_progress"
    )


def test_blocked_is_no_status_and_every_task_that_waits_is_among_the_blocked(desk: Desk):
    assert "blocked by what it depends_on" in desk.refused("update_task_status", task_id="t1", status="blocked")
    assert "call delete_task" in desk.refused("update_task_status", task_id="t1", status="cancelled")
    assert [task["id"] for task in desk.ask("get_blocked_tasks")["blocked"]] == ["t2", "t3"]


# --- a team ---


def test_of_a_team_one_agent_claims_a_task_and_the_others_see_who():
    desk = Desk(Plan(scope="team"))
    desk.ask("create_task_plan", tasks=["x", "y"])
    assert "has a plan already" in desk.refused("create_task_plan", agent="two", tasks=["z"])
    assert desk.ask("update_task_status", task_id="t1", status="in_progress")["task"]["assignee"] == "you"
    assert "being done by one" in desk.refused("update_task_status", agent="two", task_id="t1", status="in_progress")
    assert desk.ask("get_task_plan", agent="two")["tasks"][0]["assignee"] == "one"
    assert [task["id"] for task in desk.ask("get_ready_tasks", agent="two")["ready"]] == ["t2"]
    desk.plan = changed(desk.plan, released(desk.plan, "one", "it timed out"))
    assert desk.ask("get_ready_tasks", agent="two")["ready"][0]["reason"] == "it timed out"


# --- slips of models ---


@pytest.mark.parametrize(
    ("needs", "meant"),
    [
        ([0], ["t1"]),
        (["0", 1], ["t1", "t2"]),
        ("t2", ["t2"]),
        (1, ["t2"]),
        ('["t1", 1]', ["t1", "t2"]),
        (["t1", 0], ["t1"]),
        (None, []),
    ],
)
def test_dependencies_are_taken_in_many_forms(needs: Any, meant: list[str]):
    desk = Desk()
    desk.ask("create_task_plan", tasks=["x", "y", {"description": "z", "depends_on": needs}])
    assert desk.needs()["t3"] == meant
    assert desk.ask("add_task", description="w", depends_on=needs)["task"].get("depends_on", []) == meant
    desk.ask("edit_task", task_id="t4", depends_on=needs or [])
    assert desk.needs()["t4"] == meant


def test_where_an_id_is_a_number_numbers_are_ids():
    desk = Desk()
    desk.ask(
        "create_task_plan", tasks=[{"id": 1, "description": "x"}, {"id": 2, "description": "y", "depends_on": [1]}]
    )
    assert desk.needs() == {"1": [], "2": ["1"]}
    assert "Not in the plan: t3 -> 0" in desk.refused("add_task", description="z", depends_on=[0])


def test_words_for_a_status_or_priority_are_understood(desk: Desk):
    desk.ask("update_task_status", task_id="t1", status="In Progress")
    assert desk.ask("update_task_status", task_id="t1", status="done")["progress"] == "1/3"
    desk.ask("update_task_status", task_id="t1", status="todo")
    assert desk.ask("edit_task", task_id="t2", priority="Critical")["task"]["priority"] == "high"
    assert "status must be one of pending, in_progress, completed, not 'half'" in desk.refused(
        "update_task_status", task_id="t1", status="half"
    )


def test_names_of_fields_that_are_nearly_right_are_understood(desk: Desk):
    desk.ask("update_task_status", id="t1", status="in_progress")
    tasks = [{"task_id": "a", "title": "x", "status": "pending"}, {"task": "y", "dependencies": ["a"]}]
    desk.ask("create_task_plan", tasks=json.dumps(tasks))
    assert desk.needs() == {"a": [], "t1": ["a"]}
    desk.ask("create_task_plan", tasks="only one")
    assert desk.plan.tasks["t1"].description == "only one"


def test_what_is_not_understood_is_told_with_what_would_be(desk: Desk):
    assert desk.refused("add_task", description="x", verified=True) == (
        "add_task takes no 'verified'; it takes description, after_task_id, depends_on, priority, metadata, parent."
    )
    assert desk.refused("update_task_status", task_id="t1") == "update_task_status needs status."
    assert desk.refused("delete_task", task_id="nine") == "There is no task 'nine'; the plan has t1, t2, t3."
    assert desk.refused("get_task_plan", verbose=True) == "get_task_plan takes no 'verbose'; it takes no fields."
    assert "tasks[0] takes no 'status', 'title'" in desk.refused(
        "create_task_plan", tasks=[{"description": "x", "title": "y", "status": "completed"}]
    )
    assert "not a value of type bool" in desk.refused("add_task", description="x", depends_on=[True])
    assert "must be an object" in desk.refused("add_task", description="x", metadata="high")
    assert desk.refused("start_task").startswith("There is no tool 'start_task'; there are create_task_plan, add_task")
    assert (
        call(desk.plan, "add_task", ["x"], agent="one", at=3.0)
        .result["error"]
        .startswith("add_task takes an object with")
    )


def test_what_would_not_fit_is_refused(desk: Desk):
    assert "1 to 2000 characters" in desk.refused("add_task", description="x" * (LONGEST + 1))
    assert "8 levels deep" in desk.refused("add_task", description="x", metadata=nested(9))
    assert "8 levels deep" in desk.refused("add_task", description="x", metadata=nested(100_000))
    assert "must be an object" in desk.refused("add_task", description="x", metadata={"much": float("nan")})
    assert "at most 64 characters" in desk.refused("delete_task", task_id="x" * 65)
    desk.ask("add_task", description="x", metadata=nested(8))
    many = [f"{number}{'x' * 60}" for number in range(100, 200)]
    told = Desk().refused(
        "create_task_plan", tasks=[{"id": each, "description": "x", "depends_on": many} for each in many]
    )
    assert (len(told), told[-1]) == (LONGEST, "…")


@pytest.mark.parametrize(
    ("tool", "given", "told"),
    [
        ("create_task_plan", {"tasks": ["x"] * 1_000_000}, "create_task_plan.tasks has 1000000 tasks. A plan has at most 100."),
        ("create_task_plan", {"tasks": json.dumps(["x"] * 500_000)}, "tasks has 500000 tasks. A plan has at most 100."),
        ("add_task", {"description": "x", "depends_on": [*range(500_000)]}, "add_task.depends_on has 500000 tasks."),
        ("add_task", {"description": "x", "metadata": {"all": [0] * 1_000_000}}, "add_task.metadata must be an object"),
    ],
)  # fmt: skip
def test_a_flood_is_refused_before_it_takes_the_time_of_others(desk: Desk, tool: str, given: Any, told: str):
    """The largest message that a client may send holds a million tasks."""
    before = time.process_time()
    assert told in desk.refused(tool, **given)
    assert time.process_time() - before < 1


def test_metadata_whose_parts_are_there_many_times_over_is_refused_without_going_through_them_all(desk: Desk):
    """As aliases of YAML make it of a few lines."""
    many: Any = 0
    for _ in range(7):
        many = [many] * 100
    assert "metadata must be an object" in desk.refused("add_task", description="x", metadata={"all": many})


def test_of_many_fields_that_there_are_not_some_are_named_and_what_there_is_instead(desk: Desk):
    many = {f"field{number:03}": 1 for number in range(200)}
    told = call(desk.plan, "add_task", {"description": "x", **many}, agent="one", at=3.0).result["error"]
    assert "'field009' and 190 more; it takes description, after_task_id" in told


def nested(levels: int) -> dict[str, Any]:
    """That many objects in one another."""
    inner: Any = None
    for _ in range(levels):
        inner = {"in": inner}
    return inner


def test_broken_unicode_is_mended(desk: Desk):
    told = desk.ask("add_task", description="a\ud800b", metadata={"\ud83d\ude00": "\udfff"})
    assert (told["task"]["description"], told["task"]["metadata"]) == ("a\ufffdb", {"\U0001f600": "\ufffd"})
    json.dumps(encode(desk.plan), ensure_ascii=False).encode()
    assert "must be an id" in desk.refused("delete_task", task_id="\ud800")


def test_an_object_given_as_context_is_kept_as_text():
    desk = Desk()
    desk.ask("create_task_plan", tasks=[{"description": "x", "context": {"file": "a.txt"}}])
    assert desk.plan.tasks["t1"].context == '{"file": "a.txt"}'


# --- whatever comes ---

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["t1", "t2", "pending", "done", "[0]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.sampled_from(["description", "depends_on", "id"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = sorted({name for tool in TOOLS for name in tool.parameters["properties"]})
ARGUMENTS = st.dictionaries(st.sampled_from(FIELDS), ANY, max_size=4)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*NAMES, "else"]), ARGUMENTS | ANY), max_size=6))
@example([("create_task_plan", {"tasks": '["x"'}), ("create_task_plan", {"tasks": "[" * 100_000})])
def test_no_json_makes_a_call_raise_or_a_result_miss_its_schema(calls: list[tuple[str, Any]]):
    plan = Desk()
    plan.ask("create_task_plan", tasks=["x", {"description": "y", "depends_on": [0]}])
    for name, arguments in calls:
        outcome = call(plan.plan, name, arguments, agent="one", at=1.0)
        json.dumps(outcome.result, allow_nan=False, ensure_ascii=False).encode()
        if outcome.is_error:
            assert outcome.change is None
            continue
        RESULTS[name].validate(json.loads(json.dumps(outcome.result)))
        if outcome.change:
            plan.plan = changed(plan.plan, decode(Change, json.loads(json.dumps(encode(outcome.change)))))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_fits_the_schema_is_never_misread_as_malformed(data: st.DataObject):
    """Only the plan's own rules refuse it."""
    name = data.draw(st.sampled_from(["t1", "t2"]))
    fields = {
        "description": "x",
        "depends_on": data.draw(st.lists(st.sampled_from(["t1", "t2", 0, 1]), max_size=3)),
        "priority": data.draw(st.sampled_from(["high", "medium", "low"])),
        "metadata": data.draw(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2)),
    }
    desk = Desk()
    desk.ask("create_task_plan", tasks=["x", "y"])
    for tool, arguments in (("add_task", fields), ("edit_task", {"task_id": name, **fields})):
        PARAMETERS[tool].validate(arguments)
        outcome = call(desk.plan, tool, arguments, agent="one", at=1.0)
        assert not outcome.is_error or "circle" in outcome.result["error"]
