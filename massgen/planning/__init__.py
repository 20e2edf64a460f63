"""Plans: tasks that wait for one another, and what may be done to them. Pure; `at` is a time, in seconds since the epoch.

A rule takes a plan and tells the whole `Change`, or raises `PlanError` and nothing has happened; `changed` folds changes into
plans. What holds for every plan, whatever was asked of it:

- A task waits for what it depends on, for what its parents depend on, and for its sub-tasks; nothing waits in a circle.
- It is *ready* if it is pending and waits for nothing that is not completed, *blocked* if it waits: both are derived.
- What is started (in progress or completed) waits for nothing. Only sub-tasks may be added to a task in progress; it is
  completed after them.
- pending -> in_progress (which claims it) -> completed. Its agent may put it back to pending, and reopen what it completed,
  while nothing started waits for it. An agent may hold several tasks; what one holds or did, no other agent changes.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import Any, Literal, TypeAlias, get_args

Status: TypeAlias = Literal["pending", "in_progress", "completed"]
Priority: TypeAlias = Literal["high", "medium", "low"]
STATUSES: tuple[Status, ...] = get_args(Status)
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
MOST_TASKS = 100
"""In one plan."""
LEVELS = 3
"""How deep sub-tasks may lie below a task."""
_TOLD = 10
"""How many ids a message names at most; twice as many circles."""
_HAS = {"pending": "is meant for", "in_progress": "is being done by", "completed": "was completed by"}
_WAITS = "(A task waits for its sub-tasks by itself, and they for what it depends on.)"


class PlanError(ValueError):
    """A change that the plan refuses, in words for the model: what is wrong, with which task, and what to do."""


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task of a plan. Times are 0 where they have not come."""

    id: str
    description: str
    depends_on: tuple[str, ...] = ()
    status: Status = "pending"
    priority: Priority = "medium"
    parent: str = ""
    """The task whose part it is."""
    assignee: str = ""
    """The agent who alone may do it, does it or did it; empty: whoever starts it."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    context: str = ""
    """What whoever does it should know."""
    reason: str = ""
    """Why it was last put back to pending, until it is completed."""
    created: float = 0.0
    started: float = 0.0
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks by id, in their order; `limit` may lower `MOST_TASKS`. A team's plan is made once and then grown by all."""

    tasks: Mapping[str, PlannedTask] = field(default_factory=dict[str, PlannedTask])
    limit: int = MOST_TASKS
    scope: Literal["agent", "team"] = "agent"


@dataclass(frozen=True, slots=True)
class Change:
    """Tasks that are new or not as they were, ids that are gone, and all ids in order where `tasks` does not show it."""

    tasks: tuple[PlannedTask, ...] = ()
    deleted: tuple[str, ...] = ()
    order: tuple[str, ...] = ()


def changed(plan: Plan, change: Change) -> Plan:
    """`plan` after `change`: what is new comes last, unless there is an `order`. Never raises."""
    tasks = {name: task for name, task in plan.tasks.items() if name not in change.deleted}
    tasks |= {task.id: task for task in change.tasks}
    if change.order:
        tasks = {name: tasks[name] for name in change.order if name in tasks} | tasks
    return replace(plan, tasks=tasks)


def waiting(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Each pending task -> what it waits for that is not completed: of a ready one nothing."""
    waits, left = _waits(plan.tasks), _left(plan.tasks)
    return {name: _open(waits[name], left) for name, task in plan.tasks.items() if task.status == "pending"}


def ready(plan: Plan, agent: str = "") -> list[PlannedTask]:
    """What can be started now (by `agent`: what is not meant for another), most important first, then in order."""
    waits, left = _waits(plan.tasks), _left(plan.tasks)
    found = (task for task in plan.tasks.values() if task.status == "pending" and left.isdisjoint(waits[task.id]))
    mine = (task for task in found if not agent or task.assignee in ("", agent))
    return sorted(mine, key=lambda task: PRIORITIES.index(task.priority))


def task_of(plan: Plan, name: str) -> PlannedTask:
    """Raises `PlanError`, which names those that there are."""
    if task := plan.tasks.get(name):
        return task
    there = f"the plan has {listed(plan.tasks)}" if plan.tasks else "the plan is empty: call create_task_plan first"
    raise PlanError(f"There is no task {name[:60]!r}; {there}.")


def planned(plan: Plan, tasks: Sequence[PlannedTask]) -> Change:
    """`tasks` instead of those in the plan; of a team, once all these are completed."""
    if not tasks:
        raise PlanError("A plan needs at least one task.")
    if plan.scope == "team" and any(task.status != "completed" for task in plan.tasks.values()):
        raise PlanError("The team has a plan already: see get_task_plan, and change it with add_task and edit_task.")
    return _checked(plan, tasks)


def added(plan: Plan, task: PlannedTask, *, agent: str, after: str = "") -> Change:
    """`task` at the end, or after the one of that id."""
    tasks = [*plan.tasks.values()]
    place = tasks.index(task_of(plan, after)) + 1 if after else len(tasks)
    if task.parent:
        _check_owner(task_of(plan, task.parent), agent)
    return _checked(plan, [*tasks[:place], task, *tasks[place:]])


def edited(plan: Plan, task: PlannedTask, *, agent: str) -> Change:
    """`task` for the one of the same id; who has it, and how far it is, does not change here."""
    before = task_of(plan, task.id)
    _check_owner(before, agent)
    return _instead(plan, replace(task, status=before.status, assignee=before.assignee))


def moved(plan: Plan, name: str, status: Status, *, agent: str, at: float) -> Change:
    """The task with that status; to start it is to claim it. Nothing changes where it has that status."""
    task = task_of(plan, name)
    _check_owner(task, agent)
    match task.status, status:
        case before, _ if before == status:
            return Change()
        case "pending", "completed":
            raise PlanError(f'{name} was not started: call update_task_status("{name}", "in_progress") first.')
        case _, "pending":
            return _instead(plan, _put_back(task, task.reason))
        case _, "completed":
            return _instead(plan, replace(task, status=status, reason="", ended=at))
        case _:
            started = replace(task, status=status, assignee=agent, started=at, ended=0.0)
            _check_waits(plan, plan.tasks, started, _open(_waits(plan.tasks)[name], _left(plan.tasks)))
            return _instead(plan, started)


def deleted(plan: Plan, name: str, *, agent: str) -> Change:
    """The task gone; refused while others depend on it or are parts of it."""
    _check_owner(task_of(plan, name), agent)
    if needing := [task.id for task in plan.tasks.values() if name in (*task.depends_on, task.parent)]:
        raise PlanError(f"Needed by {listed(needing)}: first delete its sub-tasks, and change depends_on by edit_task.")
    return Change(deleted=(name,))


def released(plan: Plan, agent: str, reason: str) -> Change:
    """What `agent` was doing, or was to do, is anyone's; what it completed stays so."""
    held = (task for task in plan.tasks.values() if task.assignee == agent and task.status != "completed")
    return Change(tuple(_put_back(task, reason if task.status == "in_progress" else task.reason) for task in held))


def _put_back(task: PlannedTask, reason: str) -> PlannedTask:
    return replace(task, status="pending", assignee="", reason=reason, started=0.0, ended=0.0)


def _instead(plan: Plan, task: PlannedTask) -> Change:
    return _checked(plan, [task if name == task.id else each for name, each in plan.tasks.items()])


def _checked(plan: Plan, wanted: Sequence[PlannedTask]) -> Change:
    """What makes `plan` the tasks `wanted`, if these are a plan."""
    _check_ids(plan, wanted)
    tasks = {task.id: task for task in wanted}
    _check_references(tasks)
    waits = _waits(tasks)
    if _turns(waits):
        told = "; ".join(" -> ".join([*circle, circle[0]]) for circle in islice(_circles(waits), 2 * _TOLD))
        raise PlanError(f"Leave out a dependency of each circle: {told}. {_WAITS}")
    if deep := [name for name, task in tasks.items() if len([*_above(tasks, task)]) > LEVELS]:
        raise PlanError(f"Sub-tasks nest {LEVELS} levels deep at most, not {listed(deep)}. Give them a higher parent.")
    left = _left(tasks)
    for name, task in tasks.items():
        if task.status != "pending":
            needs = (other for other in waits[name] if task.status == "completed" or tasks[other].parent != name)
            _check_waits(plan, tasks, task, _open(needs, left))
    new = tuple(task for name, task in tasks.items() if plan.tasks.get(name) != task)
    change = Change(new, tuple(name for name in plan.tasks if name not in tasks))
    return change if [*changed(plan, change).tasks] == [*tasks] else replace(change, order=tuple(tasks))


def _check_ids(plan: Plan, wanted: Sequence[PlannedTask]) -> None:
    limit, count = min(plan.limit, MOST_TASKS), Counter(task.id for task in wanted)
    if len(wanted) > limit and count.keys() - plan.tasks.keys():
        raise PlanError(f"A plan has at most {limit} tasks; this would be {len(wanted)}. Merge or leave out some.")
    if twice := [name for name, times in count.items() if times > 1]:
        raise PlanError(f"More than one task has the id {listed(twice)}. Give each its own id, or none.")


def _check_references(tasks: Mapping[str, PlannedTask]) -> None:
    known, named = {*tasks, ""}, ((name, (*task.depends_on, task.parent)) for name, task in tasks.items())
    if unknown := [f"{name} -> {other[:60]}" for name, others in named for other in others if other not in known]:
        raise PlanError(f"Not in the plan: {listed(unknown)}. There are: {listed(tasks)}.")


def _check_owner(task: PlannedTask, agent: str) -> None:
    if task.assignee not in ("", agent):
        remedy = "Add a task for what is missing." if task.status == "completed" else "Take another: get_ready_tasks."
        raise PlanError(f"{task.id} {_HAS[task.status]} {task.assignee}. {remedy}")


def _check_waits(plan: Plan, tasks: Mapping[str, PlannedTask], task: PlannedTask, left: Sequence[str]) -> None:
    """Whether a task can be started, or completed, or stay so as it is in `plan`, while of `tasks` these are open."""
    if not left:
        return
    told = listed([f"{name} ({tasks[name].status})" for name in left])
    remedy = "Complete that first; get_ready_tasks tells what can be started."
    if (before := plan.tasks.get(task.id)) and before.status == task.status:
        remedy = f'Do without that, or first call update_task_status("{task.id}", "pending").'
    raise PlanError(f"{task.id} cannot be {task.status} while it waits for {told}. {remedy}")


def _waits(tasks: Mapping[str, PlannedTask]) -> dict[str, list[str]]:
    waits = {name: [*task.depends_on] for name, task in tasks.items()}
    for task in tasks.values():
        if task.parent:
            waits[task.parent].append(task.id)
            waits[task.id] += (name for above in _above(tasks, task) for name in above.depends_on)
    return waits


def _above(tasks: Mapping[str, PlannedTask], task: PlannedTask) -> Iterator[PlannedTask]:
    """Its parents, nearest first, up to one more than there may be."""
    for _ in range(LEVELS + 1):
        if task.parent:
            task = tasks[task.parent]
            yield task


def _left(tasks: Mapping[str, PlannedTask]) -> set[str]:
    """What is not completed."""
    return {name for name, task in tasks.items() if task.status != "completed"}


def _open(names: Iterable[str], left: set[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(left.__contains__, names)))


def listed(names: Iterable[str], most: int = _TOLD) -> str:
    """The first of them, and how many more."""
    every = [*names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return f"{', '.join(every[:most])}{more}"


def _turns(waits: Mapping[str, Sequence[str]]) -> bool:
    """Whether there is any circle: whether something stays when all that waits for nothing left is taken away."""
    count, left, gone = 0, [*waits], set[str]()
    while len(left) != count:
        count = len(left)
        for name in left:
            if gone.issuperset(waits[name]):
                gone.add(name)
        left = [name for name in reversed(left) if name not in gone]
    return bool(left)


def _circles(waits: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Each wait that lies on any circle, on a shortest one; no circle twice. (Of all circles there may be millions.)"""
    bit, leads = _leads(waits)
    unnamed: dict[str, set[str]] = {name: set() for name in waits}
    for one, other in ((name, each) for name in waits for each in waits[name] if leads[each] & bit[name]):
        unnamed[other].add(one)
    for start, left in unnamed.items():
        paths, queue = {start: [start]}, deque([start])
        while left:
            if (name := queue.popleft()) in left:
                for one, other in pairwise([*paths[name], start]):
                    unnamed[other].discard(one)
                yield paths[name]
            new = {each: [*paths[name], each] for each in waits[name] if each not in paths and leads[each] & bit[start]}
            paths |= new
            queue += new


def _leads(waits: Mapping[str, Sequence[str]]) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """A bit for each task, and those of all that it waits for, directly or not (by Warshall)."""
    bit = {name: 1 << number for number, name in enumerate(waits)}
    leads = {name: sum(bit[each] for each in {*others}) for name, others in waits.items()}
    for middle, own in bit.items():
        for name, far in leads.items():
            if far & own:
                leads[name] = far | leads[middle]
    return bit, leads
