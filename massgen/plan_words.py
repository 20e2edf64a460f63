"""A plan for people: where it stands, what a change of it did, its tasks as a tree. Pure.

Never raises, also of a part of a log: what is said of tasks that are not there is left out. Texts are as the models wrote them:
whoever shows them makes them safe.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from massgen.events import PlanChanged
from massgen.figures import duration
from massgen.planning import Plan, PlannedTask, changed, listed, waiting

MAX_NAMES = 5
"""Tasks that a phrase names."""
MAX_BAR = 10
"""Characters of a bar that shows how far a plan is."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a plan stands: how many of its tasks are completed, ready and blocked, and which are being done."""

    done: int
    count: int
    doing: tuple[PlannedTask, ...]
    ready: int
    blocked: int

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.done == self.count


@dataclass(frozen=True, slots=True)
class Place:
    """A task in the tree: `level` tasks above it; `waits` are those that it waits for."""

    level: int
    task: PlannedTask
    waits: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """How far it is, who does it or did it, and what it waits for."""
        task = self.task
        match task.status:
            case "completed":
                took = f" in {duration(task.ended - task.started)}" if task.ended > task.started > 0 else ""
                return f"completed by {task.assignee or 'nobody'}{took}"
            case "in_progress":
                return f"in progress: {task.assignee or 'nobody'}"
            case "pending":
                what = f"waits for {_names(self.waits)}" if self.waits else "ready"
                meant = f", meant for {task.assignee}" if task.assignee else ""
                return f"{what}{meant}{f'; was put back: {task.reason}' if task.reason else ''}"

    @property
    def notes(self) -> str:
        """What agents wrote down with it: each key of its metadata with its value."""
        told = {
            key: each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)
            for key, each in self.task.metadata.items()
        }
        return "; ".join(f"{key}: {each}" for key, each in told.items())


def standing(plan: Plan) -> Standing:
    """Where `plan` stands."""
    waits = [*waiting(_sound(plan)).values()]
    doing = tuple(task for task in plan.tasks.values() if task.status == "in_progress")
    done = len(plan.tasks) - len(doing) - len(waits)
    return Standing(done, len(plan.tasks), doing, sum(not each for each in waits), sum(map(bool, waits)))


def phrases(name: str, plan: Standing, marks: str) -> Iterator[str]:
    """Where the plan called `name` stands, in phrases of which what is being done comes last: there may be no room for it.
    Of `marks` one stands for what is done, one for what is not."""
    cells = min(MAX_BAR, plan.count)
    full = cells * plan.done // max(1, plan.count)
    yield f"{name or 'plan'} {marks[0] * full}{marks[1] * (cells - full)} {plan.done}/{plan.count}"
    if not plan.over:
        yield f"{plan.ready} ready, {plan.blocked} blocked"
    for task in plan.doing[:MAX_NAMES]:
        yield f"{task.assignee}: {task.id} {task.description}"


def tree(plan: Plan) -> list[Place]:
    """Its tasks in their order, parts below what they are parts of."""
    waits, below = waiting(_sound(plan)), dict[str, list[PlannedTask]]()
    for task in plan.tasks.values():
        below.setdefault(task.parent if task.parent in plan.tasks else "", []).append(task)
    told: dict[str, Place] = {}
    for top in (*below.get("", ()), *plan.tasks.values()):  # parts of each other, as no plan has, come last
        for level, task in _under(top, below, 0):
            told.setdefault(task.id, Place(level, task, waits.get(task.id, ())))
    return [*told.values()]


def _under(task: PlannedTask, below: dict[str, list[PlannedTask]], level: int) -> Iterator[tuple[int, PlannedTask]]:
    yield level, task
    for part in below.pop(task.id, ()):
        yield from _under(part, below, level + 1)


def data(name: str, plan: Plan) -> dict[str, Any]:
    """The plan called `name` for machines. `of` is null for the team's; times are seconds since 1970, 0 where they have not
    come."""
    waits, tasks = {each.task.id: each.waits for each in tree(plan)}, plan.tasks.values()
    return {
        "of": name or None,
        "completed": standing(plan).done,
        "count": len(tasks),
        "ready": [task.id for task in tasks if task.status == "pending" and not waits[task.id]],
        "tasks": [asdict(task) | {"waits_for": waits[task.id]} for task in tasks],
    }


def news(before: Plan, fact: PlanChanged) -> str:
    """What `fact` did to the plan, as a phrase after the name of its agent (of none, where the user gave it)."""
    after = changed(before, fact.change).tasks
    added = [task for task in fact.tasks if task.id not in before.tasks]
    moved = [task for task in fact.tasks if task.id in before.tasks and before.tasks[task.id].status != task.status]
    if fact.turn is None and fact.agent:
        return f"gave back {_names(task.id for task in fact.tasks)}"
    if after and all(_made(task, before) for task in after.values()):
        count = f"{len(after)} task{'s' * (len(after) != 1)}"
        return f"planned {count}" if fact.agent else f"a plan of {count} was given"
    if added:
        return f"added {_named(added)}"
    if fact.deleted:
        return f"deleted {_names(fact.deleted)}"
    if moved:
        done = sum(task.status == "completed" for task in after.values())
        progress = f" ({done}/{len(after)})" if moved[0].status == "completed" else ""
        return f"{_VERBS[moved[0].status]} {_named(moved)}{progress}"
    return f"changed {_named(fact.tasks)}"


def _made(task: PlannedTask, before: Plan) -> bool:
    """Whether it is new: in a plan that was made anew its tasks may be called as others were, t1 again the first."""
    return task.id not in before.tasks or before.tasks[task.id].created != task.created


_VERBS = {"pending": "put back", "in_progress": "began", "completed": "completed"}


def _names(ids: Iterable[str]) -> str:
    return listed(ids, MAX_NAMES) or "nothing"


def _named(tasks: Iterable[PlannedTask]) -> str:
    every = [*tasks]
    return f"{every[0].id}: {every[0].description}" if len(every) == 1 else _names(task.id for task in every)


def _sound(plan: Plan) -> Plan:
    """`plan` without what is said of tasks that it does not have."""

    def mended(task: PlannedTask) -> PlannedTask:
        if plan.tasks.keys() >= {*task.depends_on, task.parent or task.id}:
            return task
        known = tuple(name for name in task.depends_on if name in plan.tasks)
        return replace(task, depends_on=known, parent=task.parent if task.parent in plan.tasks else "")

    return replace(plan, tasks={name: mended(task) for name, task in plan.tasks.items()})
