import json
import random
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen.log.codec import decode, encode
from massgen.planning import (
    LEVELS,
    MOST_TASKS,
    PRIORITIES,
    STATUSES,
    Change,
    Plan,
    PlanError,
    PlannedTask,
    Status,
    added,
    changed,
    deleted,
    edited,
    moved,
    planned,
    ready,
    released,
    waiting,
)
from tests.plan_oracle import Item, Oracle


def task(name: str, *needs: str, **told: Any) -> PlannedTask:
    return PlannedTask(name, f"do {name}", needs, **told)


def plan_of(*tasks: PlannedTask, **told: Any) -> Plan:
    plan = Plan(**told)
    return changed(plan, planned(plan, tasks))


def did(plan: Plan, *steps: str, agent: str = "a", at: float = 5.0) -> Plan:
    """`t1+` starts the task t1, `t1!` completes it, `t1-` puts it back."""
    to: dict[str, Status] = {"+": "in_progress", "!": "completed", "-": "pending"}
    for step in steps:
        plan = changed(plan, moved(plan, step[:-1], to[step[-1]], agent=agent, at=at))
    return plan


def statuses(plan: Plan) -> str:
    """In order: `.` pending, `+` in progress, `!` completed."""
    return "".join({"pending": ".", "in_progress": "+", "completed": "!"}[each.status] for each in plan.tasks.values())


def names(tasks: list[PlannedTask]) -> list[str]:
    return [each.id for each in tasks]


def refusal(rule: Any, *told: Any, **more: Any) -> str:
    with pytest.raises(PlanError) as caught:
        rule(*told, **more)
    return str(caught.value)


# --- making a plan ---


def test_a_plan_holds_at_most_a_hundred_tasks():
    tasks = [task(f"t{number}") for number in range(150)]
    assert "at most 100 tasks; this would be 150" in refusal(planned, Plan(), tasks)
    full = plan_of(*tasks[:MOST_TASKS])
    assert "at most 100 tasks; this would be 101" in refusal(added, full, task("one more"), agent="a")
    assert len(plan_of(*tasks[:MOST_TASKS], limit=1000).tasks) == MOST_TASKS
    assert "at most 100" in refusal(planned, Plan(limit=1000), tasks)


def test_a_lower_limit_binds_and_lets_a_plan_live_on_that_was_larger_before():
    assert "at most 2 tasks; this would be 3" in refusal(planned, Plan(limit=2), [task("a"), task("b"), task("c")])
    larger = replace(plan_of(task("a"), task("b"), task("c")), limit=2)
    assert statuses(did(larger, "a+", "a!", "b+")) == "!+."
    assert "at most 2" in refusal(added, larger, task("d"), agent="a")


def test_a_plan_that_is_refused_leaves_the_old_one_as_it_was():
    plan = did(plan_of(task("a"), task("b", "a")), "a+")
    before = encode(plan)
    for bad in ([], [task("x", "y")], [task("x", "x")], [task("x"), task("x")], [task("x", parent="y")]):
        refusal(planned, plan, bad)
    assert encode(plan) == before


def test_a_new_plan_of_an_agent_replaces_its_old_one_whole():
    old = did(plan_of(task("a"), task("b"), task("c")), "a+")
    change = planned(old, [task("x", "c"), task("c")])
    assert (change.deleted, change.order) == (("a", "b"), ("x", "c"))
    assert names([*changed(old, change).tasks.values()]) == ["x", "c"]


def test_every_id_that_is_there_twice_is_named():
    told = refusal(planned, Plan(), [task("a"), task("b"), task("a"), task("c"), task("c")])
    assert told == "More than one task has the id a, c. Give each its own id, or none."
    assert "the id a" in refusal(added, plan_of(task("a")), task("a"), agent="x")


def test_every_dependency_that_is_not_there_is_named():
    told = refusal(planned, Plan(), [task("a", "x"), task("b", "a", "y"), task("c", parent="z")])
    assert told == "Not in the plan: a -> x, b -> y, c -> z. There are: a, b, c."


def test_long_lists_are_cut_in_messages():
    told = refusal(planned, Plan(), [task(f"t{number}", "gone") for number in range(30)])
    assert "t9 -> gone and 20 more." in told


def test_every_circle_is_named():
    told = refusal(
        planned,
        Plan(),
        [task("a", "b"), task("b", "a"), task("c", "c"), task("d", "a"), task("e", "f"), task("f", "e", "d")],
    )
    assert told.startswith("Leave out a dependency of each circle: a -> b -> a; c -> c; e -> f -> e. ")


def test_circles_that_share_a_wait_are_both_named():
    told = refusal(planned, Plan(), [task("a", "b", "c"), task("b", "c"), task("c", "a")])
    assert "circle: a -> c -> a; b -> c -> a -> b. " in told


def test_of_very_many_circles_twenty_are_named():
    ids = [f"t{number}" for number in range(MOST_TASKS)]
    told = refusal(planned, Plan(), [task(each, *ids) for each in ids])
    assert told.count(";") == 19


def test_one_circle_of_a_hundred_tasks_takes_no_longer_to_name_than_many_small_ones():
    ids = [f"t{number}" for number in range(MOST_TASKS)]

    def seconds(*steps: int) -> float:
        """The least of the processor's in five tries: a machine that is busy tells more."""
        tasks = [task(each, *(ids[(n + step) % MOST_TASKS] for step in steps)) for n, each in enumerate(ids)]
        took = list[float]()
        for _ in range(5):
            before = time.process_time()
            refusal(planned, Plan(), tasks)
            took.append(time.process_time() - before)
        return min(took)

    assert seconds(1) < 3 * seconds(1, 7, 31)


def test_a_circle_may_lead_through_a_parent():
    part = task("part", "before", parent="whole")
    told = refusal(planned, Plan(), [task("whole"), part, task("before", "whole")])
    assert "whole -> part -> before -> whole" in told
    assert "A task waits for its sub-tasks by itself" in told
    refusal(planned, Plan(), [task("whole"), task("part", "whole", parent="whole")])
    refusal(planned, Plan(), [task("whole", "part"), task("part", parent="whole")])
    refusal(planned, Plan(), [task("whole", "other"), task("part", parent="whole"), task("other", "part")])
    refusal(planned, Plan(), [task("a", parent="b"), task("b", parent="a")])


def test_sub_tasks_nest_three_levels_deep():
    chain = [task("t0"), *(task(f"t{n}", parent=f"t{n - 1}") for n in range(1, LEVELS + 2))]
    plan_of(*chain[:-1])
    assert "nest 3 levels deep at most, not t4." in refusal(planned, Plan(), chain)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=9), st.lists(st.integers(0, 4), max_size=5))
def test_all_circles_are_told_as_brute_force_finds_them(edges: list[tuple[int, int]], parents: list[int]):
    """Each that is named is one, none is named twice, and every wait on any circle is on one that is named."""
    ids = [f"t{number}" for number in range(5)]
    above = {ids[n]: ids[parent] for n, parent in enumerate(parents) if parent < n}
    tasks = [
        task(each, *(ids[b] for a, b in dict.fromkeys(edges) if ids[a] == each), parent=above.get(each, ""))
        for each in ids
    ]
    oracle = Oracle()
    oracle.items = [Item(each.id, [*each.depends_on], each.parent) for each in tasks]
    every = oracle.circles()
    if not every:
        plan_of(*tasks)
        return
    told = refusal(planned, Plan(), tasks).removeprefix("Leave out a dependency of each circle: ").split(". (")[0]
    named = [tuple(circle.split(" -> ")[:-1]) for circle in told.split("; ")]
    turned = [circle[(at := circle.index(min(circle))) :] + circle[:at] for circle in named]
    assert len({*turned}) == len(turned)
    assert {*turned} <= every
    if len(named) < 20:
        assert {wait for circle in every for wait in steps(circle)} == {
            wait for circle in turned for wait in steps(circle)
        }


def steps(circle: tuple[str, ...]) -> list[tuple[str, str]]:
    return [*zip(circle, [*circle[1:], circle[0]], strict=True)]


# --- doing it ---


def test_a_task_is_started_after_what_it_depends_on():
    plan = plan_of(task("a"), task("b"), task("c", "a", "b"))
    assert names(ready(plan)) == ["a", "b"]
    assert waiting(plan) == {"a": (), "b": (), "c": ("a", "b")}
    told = refusal(moved, did(plan, "a+"), "c", "in_progress", agent="x", at=1.0)
    assert told == (
        "c cannot be in_progress while it waits for a (in_progress), b (pending). "
        "Complete that first; get_ready_tasks tells what can be started."
    )
    plan = did(plan, "a+", "a!", "b+", "b!")
    assert names(ready(plan)) == ["c"]
    assert statuses(did(plan, "c+", "c!")) == "!!!"


def test_a_task_is_completed_only_after_it_was_started():
    told = refusal(moved, plan_of(task("a"), task("b", "a")), "b", "completed", agent="x", at=1.0)
    assert told == 'b was not started: call update_task_status("b", "in_progress") first.'


def test_a_task_knows_who_does_it_and_when():
    plan = did(plan_of(task("a")), "a+", agent="me", at=7.0)
    assert (plan.tasks["a"].assignee, plan.tasks["a"].started, plan.tasks["a"].ended) == ("me", 7.0, 0.0)
    plan = did(plan, "a!", agent="me", at=9.0)
    assert (plan.tasks["a"].started, plan.tasks["a"].ended) == (7.0, 9.0)
    plan = did(plan, "a+", agent="me", at=11.0)
    assert (plan.tasks["a"].started, plan.tasks["a"].ended) == (11.0, 0.0)
    back = did(plan, "a-", agent="me").tasks["a"]
    assert (back.status, back.assignee, back.started, back.ended) == ("pending", "", 0.0, 0.0)


def test_what_has_the_status_already_does_not_change():
    plan = did(plan_of(task("a")), "a+")
    assert moved(plan, "a", "in_progress", agent="a", at=99.0) == Change()
    assert moved(did(plan, "a!"), "a", "completed", agent="a", at=99.0) == Change()


def test_a_task_may_be_reopened_or_put_back_while_nothing_started_needs_it():
    plan = did(plan_of(task("a"), task("b", "a")), "a+", "a!")
    assert statuses(did(plan, "a+")) == "+."
    assert statuses(did(plan, "a-")) == ".."
    started = did(plan, "b+")
    told = refusal(moved, started, "a", "in_progress", agent="a", at=1.0)
    assert told.startswith("b cannot be in_progress while it waits for a (in_progress). Do without that, or first call")
    refusal(moved, did(started, "b!"), "a", "pending", agent="a", at=1.0)


def test_an_agent_may_hold_several_tasks():
    assert statuses(did(plan_of(task("a"), task("b")), "a+", "b+")) == "++"


def test_ready_tasks_come_by_priority_then_in_order():
    plan = plan_of(
        task("a", priority="low"), task("b"), task("c", priority="high"), task("d"), task("e", priority="high")
    )
    assert names(ready(plan)) == ["c", "e", "b", "d", "a"]


# --- sub-tasks ---


def test_a_parent_comes_after_its_sub_tasks_and_they_after_what_it_depends_on():
    plan = plan_of(task("before"), task("whole", "before"), task("part", parent="whole"), task("grain", parent="part"))
    assert waiting(plan) == {
        "before": (),
        "whole": ("before", "part"),
        "part": ("before", "grain"),
        "grain": ("before",),
    }
    plan = did(plan, "before+", "before!")
    assert names(ready(plan)) == ["grain"]
    assert "waits for part (pending)" in refusal(moved, plan, "whole", "in_progress", agent="a", at=1.0)
    assert names(ready(did(plan, "grain+", "grain!", "part+", "part!"))) == ["whole"]


def test_a_task_in_progress_may_be_broken_down_and_is_completed_after_its_parts():
    plan = did(plan_of(task("whole")), "whole+")
    plan = changed(plan, added(plan, task("part", parent="whole"), agent="a"))
    told = refusal(moved, plan, "whole", "completed", agent="a", at=1.0)
    assert told.startswith("whole cannot be completed while it waits for part (pending). Complete that first")
    assert statuses(did(plan, "part+", "part!", "whole!")) == "!!"


def test_nothing_is_added_to_what_is_completed():
    plan = did(plan_of(task("whole")), "whole+", "whole!")
    told = refusal(added, plan, task("part", parent="whole"), agent="a")
    assert told.startswith(
        "whole cannot be completed while it waits for part (pending). Do without that, or first call"
    )


# --- changing it ---


def test_a_task_is_added_at_the_end_or_after_another():
    plan = plan_of(task("a"), task("b"))
    assert added(plan, task("c"), agent="x") == Change((task("c"),))
    change = added(plan, task("c", "b"), agent="x", after="a")
    assert change.order == ("a", "c", "b")
    assert [*changed(plan, change).tasks] == ["a", "c", "b"]
    assert "There is no task 'z'; the plan has a, b." in refusal(added, plan, task("c"), agent="x", after="z")


def test_an_edit_is_checked_like_a_new_plan():
    plan = did(plan_of(task("a"), task("b", "a"), task("c")), "a+")
    assert "a -> b -> a" in refusal(edited, plan_of(task("a"), task("b", "a")), task("a", "b"), agent="a")
    assert "There is no task 'z'" in refusal(edited, plan, task("z"), agent="a")
    told = refusal(edited, plan, task("a", "c"), agent="a")
    assert told == (
        'a cannot be in_progress while it waits for c (pending). Do without that, or first call update_task_status("a", "pending").'
    )
    change = edited(plan, replace(task("c"), description="else", status="completed"), agent="a")
    assert change.tasks == (replace(plan.tasks["c"], description="else"),)


def test_an_edit_that_changes_nothing_is_no_change():
    plan = plan_of(task("a"), task("b", "a"))
    assert edited(plan, task("b", "a"), agent="x") == Change()


def test_what_others_need_is_not_deleted():
    plan = plan_of(task("a"), task("b", "a"), task("c", "a"), task("d"), task("e", parent="d"))
    assert refusal(deleted, plan, "a", agent="x").startswith("Needed by b, c: ")
    assert refusal(deleted, plan, "d", agent="x").startswith("Needed by e: ")
    assert "There is no task 'z'" in refusal(deleted, plan, "z", agent="x")
    assert "is empty: call create_task_plan first" in refusal(deleted, Plan(), "z", agent="x")
    assert [*changed(plan, deleted(plan, "b", agent="x")).tasks] == ["a", "c", "d", "e"]


def test_folding_never_raises_whatever_the_change():
    plan = plan_of(task("a"), task("b"))
    change = Change((task("c"),), deleted=("b", "gone"), order=("gone", "c"))
    assert [*changed(plan, change).tasks] == ["c", "a"]


# --- a team's plan ---


def test_a_team_makes_one_plan_and_the_next_when_it_is_done():
    plan = plan_of(task("a"), scope="team")
    assert refusal(planned, plan, [task("x")]).startswith("The team has a plan already: see get_task_plan")
    done = did(plan, "a+", "a!", agent="one")
    assert planned(done, [task("x")]).deleted == ("a",)


def test_to_start_a_task_is_to_claim_it():
    plan = did(plan_of(task("a"), task("b", "a"), scope="team"), "a+", agent="one")
    told = refusal(moved, plan, "a", "in_progress", agent="two", at=1.0)
    assert told == "a is being done by one. Take another: get_ready_tasks."
    for rule in (lambda: moved(plan, "a", "completed", agent="two", at=1.0), lambda: deleted(plan, "a", agent="two")):
        assert "being done by one" in refusal(rule)
    assert "being done by one" in refusal(edited, plan, task("a"), agent="two")
    assert "being done by one" in refusal(added, plan, task("c", parent="a"), agent="two")


def test_what_another_completed_is_not_taken_for_free():
    plan = did(plan_of(task("a"), scope="team"), "a+", "a!", agent="one")
    told = refusal(moved, plan, "a", "in_progress", agent="two", at=1.0)
    assert told == "a was completed by one. Add a task for what is missing."


def test_a_task_that_is_meant_for_one_agent_is_ready_for_it_alone():
    plan = plan_of(task("a", assignee="one"), task("b"), scope="team")
    assert (names(ready(plan, "one")), names(ready(plan, "two")), names(ready(plan))) == (["a", "b"], ["b"], ["a", "b"])
    assert "a is meant for one" in refusal(moved, plan, "a", "in_progress", agent="two", at=1.0)


def test_what_an_agent_did_not_finish_is_anyones_again_with_the_reason():
    plan = plan_of(task("a"), task("b"), task("c"), task("d", assignee="one"), task("e"), scope="team")
    plan = did(did(plan, "a+", "a!", "b+", "c+", agent="one"), "e+", agent="two")
    freed = changed(plan, released(plan, "one", "timed out"))
    assert statuses(freed) == "!...+"
    assert [each.assignee for each in freed.tasks.values()] == ["one", "", "", "", "two"]
    assert [each.reason for each in freed.tasks.values()] == ["", "timed out", "timed out", "", ""]
    assert released(plan, "nobody", "why") == Change()
    again = did(freed, "b+", agent="two")
    assert again.tasks["b"].reason == "timed out"
    assert did(again, "b!", agent="two").tasks["b"].reason == ""


# --- against the oracle ---


IDS = [f"t{number}" for number in range(1, 8)]
AGENTS = ["one", "two"]


def a_task(dice: random.Random, existing: list[str]) -> Item:
    """Mostly sensible: a new id, dependencies that there are."""
    name = (
        dice.choice([each for each in IDS if each not in existing] or IDS) if dice.random() < 0.9 else dice.choice(IDS)
    )
    known = existing if existing and dice.random() < 0.9 else IDS
    needs = dice.sample(known, min(len(known), dice.choice([0, 0, 1, 1, 2])))
    parent = dice.choice(known) if dice.random() < 0.25 else ""
    return Item(name, needs, parent, dice.choice(PRIORITIES))


def rule_of(item: Item) -> PlannedTask:
    return task(item.name, *item.needs, parent=item.parent, priority=item.priority)


def edit(dice: random.Random, oracle: Oracle, plan: Plan) -> tuple[bool, Change | None]:
    """One edit to both: whether the oracle allowed it, and the change if the rules did."""
    agent, known = dice.choice(AGENTS), oracle.names or IDS
    name = dice.choice(known) if dice.random() < 0.95 else dice.choice(IDS)
    match dice.choice(
        ["create", "add", "add", "add", "edit", "move", "move", "move", "move", "move", "delete", "release"]
    ):
        case "create" if dice.random() < 0.3 or not oracle.items:
            items: list[Item] = []
            for _ in range(dice.randrange(6)):
                items.append(a_task(dice, [each.name for each in items]))
            return oracle.create(items), attempt(planned, plan, [rule_of(each) for each in items])
        case "edit":
            new = a_task(dice, oracle.names)
            before = plan.tasks.get(name) or task(name)
            wanted = replace(before, depends_on=tuple(new.needs), priority=new.priority)
            return oracle.edit(name, agent, new.needs, new.priority), attempt(edited, plan, wanted, agent=agent)
        case "move":
            status = dice.choice(STATUSES)
            return oracle.move(name, status, agent), attempt(moved, plan, name, status, agent=agent, at=1.0)
        case "delete":
            return oracle.delete(name, agent), attempt(deleted, plan, name, agent=agent)
        case "release":
            oracle.release(agent)
            return True, released(plan, agent, "gone")
        case _:
            item, after = a_task(dice, oracle.names), dice.choice([*known, "", ""])
            return oracle.add(item, after, agent), attempt(added, plan, rule_of(item), agent=agent, after=after)


def attempt(rule: Any, *told: Any, **more: Any) -> Change | None:
    try:
        return rule(*told, **more)
    except PlanError:
        return None


@pytest.mark.parametrize("seed", range(12))
def test_thousands_of_random_edits_do_what_the_oracle_does(seed: int):
    dice, team = random.Random(seed), seed % 3 == 0
    oracle, plan = Oracle(limit=6, team=team), Plan(limit=6, scope="team" if team else "agent")
    recorded: list[Any] = []
    allowed = 0
    for _ in range(500):
        before = encode(plan)
        right, change = edit(dice, oracle, plan)
        assert right == (change is not None)
        if change is None:
            assert encode(plan) == before
            continue
        allowed += 1
        recorded.append(json.loads(json.dumps(encode(change))))
        plan = changed(plan, change)
        agrees(plan, oracle)
    folded = Plan(limit=6, scope=plan.scope)
    for each in recorded:
        folded = changed(folded, decode(Change, each))
    assert (folded, [*folded.tasks]) == (plan, [*plan.tasks])
    assert allowed > 150


def agrees(plan: Plan, oracle: Oracle) -> None:
    """The same tasks in the same order and state, no circle, and the same is ready and blocked."""
    ours = [
        (each.id, [*each.depends_on], each.parent, each.priority, each.status, each.assignee)
        for each in plan.tasks.values()
    ]
    assert ours == [
        (each.name, each.needs, each.parent, each.priority, each.status, each.owner) for each in oracle.items
    ]
    assert not oracle.circular()
    assert names(ready(plan)) == oracle.ready()
    assert {name: {*others} for name, others in waiting(plan).items() if others} == oracle.blocked()
