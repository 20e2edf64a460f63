"""The eight tools by which models keep a plan: what they read of them, and what they get.

`call` keeps nothing: it tells the `Change` for the caller to record.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from massgen import planning
from massgen.planning import Change, Plan, PlanError, PlannedTask
from massgen.planning.arguments import LONGEST, Schema, metadata, quoted, read

PROSE = {
    "create_task_plan": "Plan the work: its tasks in order, and what each needs. Replaces an earlier plan of yours.",
    "add_task": "Add a task to the plan, at its end or after another.",
    "update_task_status": "Start a task (in_progress: it is yours then), finish it (completed), or put it back (pending).",
    "edit_task": "Change the given parts of a task; the others stay.",
    "get_task_plan": "The whole plan.",
    "delete_task": "Delete a task that no other needs.",
    "get_ready_tasks": "The tasks that can be started now, the most important first.",
    "get_blocked_tasks": "The tasks that wait for others, and for which.",
    "tasks": "Descriptions, or objects where more is to be said.",
    "depends_on": "The tasks to be completed before: ids, or positions in the plan, from 0.",
    "parent": "The task that this is a part of: id, or position from 0. It is done after its parts.",
    "context": "What whoever does it should know.",
    "metadata": "Anything else to be kept with the task.",
}
"""What models read of tools and parameters; refusals stand where they are made."""
_NEW = PlannedTask("", "")

_TEXT: Schema = {"type": "string"}
_REFERENCE: Schema = {"anyOf": [_TEXT, {"type": "integer"}]}
_FIELDS: dict[str, Schema] = {
    **dict.fromkeys(("id", "task_id", "after_task_id", "description"), _TEXT),
    "context": {**_TEXT, "description": PROSE["context"]},
    "status": {**_TEXT, "enum": [*planning.STATUSES]},
    "priority": {**_TEXT, "enum": [*planning.PRIORITIES]},
    "depends_on": {"type": "array", "items": _REFERENCE, "description": PROSE["depends_on"]},
    "parent": {**_REFERENCE, "description": PROSE["parent"]},
    "metadata": {"type": "object", "description": PROSE["metadata"]},
}


def _object(fields: Schema, required: str) -> Schema:
    return {"type": "object", "properties": fields, "required": required.split(), "additionalProperties": False}


def _parameters(required: str, optional: str = "") -> Schema:
    return _object({name: _FIELDS[name] for name in f"{required} {optional}".split()}, required)


def _result(**fields: Schema) -> Schema:
    return _object({**fields, "progress": _TEXT}, " ".join([*fields, "progress"]))


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


_TASK = _parameters("description", "id depends_on priority parent context metadata")
_FIELDS["tasks"] = {**_list({"anyOf": [_TEXT, _TASK]}), "description": PROSE["tasks"]}
_KEPT = {
    **dict.fromkeys(("description", "priority", "parent", "context", "reason"), _TEXT),
    "metadata": {"type": "object"},
}
_IDS: Schema = {"type": "array"}
"""That they are texts is not said: clients check results, and mcp's own takes 10 µs for each of what may be thousands."""
_WHOLE = _object(
    {"id": _TEXT, "status": _TEXT, "assignee": _TEXT, **_KEPT, "depends_on": _IDS, "waits_for": _IDS},
    "id description status",
)
_BRIEF = _object({"id": _TEXT, "description": _TEXT, "waits_for": _IDS}, "id description")
_DONE = _result(task=_WHOLE, newly_ready=_list(_BRIEF))


@dataclass(frozen=True, slots=True)
class PlanTool:
    """A tool as MCP lists it: JSON Schemas of its parameters and its result, and hints."""

    name: str
    description: str
    parameters: Schema
    result: Schema
    annotations: Mapping[str, bool]


def _tool(name: str, parameters: Schema, result: Schema, hints: str) -> PlanTool:
    annotations = {f"{hint}Hint": hint in hints.split() for hint in ("readOnly", "destructive", "idempotent")}
    return PlanTool(name, PROSE[name], parameters, result, annotations)


_MORE = "depends_on priority metadata"
TOOLS = (
    _tool("create_task_plan", _parameters("tasks"), _result(tasks=_list(_TEXT), ready=_list(_TEXT)), "destructive"),
    _tool("add_task", _parameters("description", f"after_task_id {_MORE} parent"), _DONE, ""),
    _tool("update_task_status", _parameters("task_id status"), _DONE, "idempotent"),
    _tool("edit_task", _parameters("task_id", f"description {_MORE}"), _DONE, "idempotent"),
    _tool("get_task_plan", _parameters(""), _result(tasks=_list(_WHOLE)), "readOnly idempotent"),
    _tool(
        "delete_task",
        _parameters("task_id"),
        _result(deleted=_TEXT, newly_ready=_list(_BRIEF)),
        "destructive idempotent",
    ),
    _tool("get_ready_tasks", _parameters(""), _result(ready=_list(_WHOLE)), "readOnly idempotent"),
    _tool("get_blocked_tasks", _parameters(""), _result(blocked=_list(_BRIEF)), "readOnly idempotent"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to: the change to be recorded, if any, and the JSON that the model gets."""

    change: Change | None
    result: Mapping[str, Any]
    is_error: bool = False


def call(plan: Plan, name: str, arguments: Any, *, agent: str, at: float) -> Outcome:
    """The tool `name` called by `agent` with `arguments`, any JSON. Never raises."""
    try:
        schemas = {tool.name: tool.parameters for tool in TOOLS}
        if name not in schemas:
            raise PlanError(f"There is no tool {quoted(name)}; there are {', '.join(schemas)}.")
        given = read(arguments, schemas[name], name)
        change = _asked(name, plan, given, agent, at)
    except PlanError as error:
        return Outcome(None, {"error": _cut(str(error), LONGEST)}, is_error=True)
    return Outcome(change if change != Change() else None, _told(name, plan, change, given, agent))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _asked(tool: str, plan: Plan, given: Mapping[str, Any], agent: str, at: float) -> Change:
    name = given.get("task_id", "")
    match tool:
        case "create_task_plan":
            return planning.planned(plan, _new(given["tasks"], (), at))
        case "add_task":
            return planning.added(
                plan, *_new([given], [*plan.tasks], at), agent=agent, after=given.get("after_task_id", "")
            )
        case "update_task_status":
            return planning.moved(plan, name, given["status"], agent=agent, at=at)
        case "edit_task":
            return planning.edited(plan, _edited(planning.task_of(plan, name), given, [*plan.tasks]), agent=agent)
        case "delete_task":
            return planning.deleted(plan, name, agent=agent)
        case _:
            return Change()


def _new(drafts: Sequence[Mapping[str, Any]], before: Sequence[str], at: float) -> list[PlannedTask]:
    """Tasks with the ids that were given, or free ones."""
    taken = {*before, *(draft.get("id") for draft in drafts)}
    free = (name for name in map("t{}".format, count(len(before) + 1)) if name not in taken)
    names = [draft.get("id") or next(free) for draft in drafts]
    ids = _positions([*before, *names])
    return [PlannedTask(name, created=at, **_meant(draft, ids)) for name, draft in zip(names, drafts, strict=True)]


def _edited(task: PlannedTask, given: Mapping[str, Any], names: Sequence[str]) -> PlannedTask:
    new = _meant(given, _positions(names))
    if not new:
        raise PlanError("Give what is to be changed: description, depends_on, priority or metadata.")
    if "metadata" in new:
        new["metadata"] = metadata({**task.metadata, **new["metadata"]}, "edit_task.metadata")
    return replace(task, **new)


def _positions(names: Sequence[str]) -> Mapping[str, str]:
    """Position -> id; none where an id is a number, lest the one be taken for the other."""
    return {} if any(map(str.isdecimal, names)) else {str(number): name for number, name in enumerate(names)}


def _meant(given: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """What `given` says of a task, with ids for positions."""
    fields = {name: value for name, value in given.items() if name not in ("id", "task_id", "after_task_id")}
    if "depends_on" in fields:
        fields["depends_on"] = tuple(dict.fromkeys(map(ids.get, fields["depends_on"], fields["depends_on"])))
    if "parent" in fields:
        fields["parent"] = ids.get(fields["parent"], fields["parent"])
    return fields


def _told(tool: str, plan: Plan, change: Change, given: Mapping[str, Any], agent: str) -> dict[str, Any]:
    after = planning.changed(plan, change)
    match tool:
        case "create_task_plan":
            told = {"tasks": [*after.tasks], "ready": [task.id for task in planning.ready(after, agent)]}
        case "get_task_plan":
            waits = planning.waiting(after)
            told = {"tasks": [_whole(after, task, agent, waits.get(name)) for name, task in after.tasks.items()]}
        case "get_ready_tasks":
            told = {"ready": [_whole(after, task, agent) for task in planning.ready(after, agent)]}
        case "get_blocked_tasks":
            waits = planning.waiting(after)
            told = {"blocked": [_brief(after.tasks[name], others) for name, others in waits.items() if others]}
        case "delete_task":
            told = {"deleted": given["task_id"], "newly_ready": _newly_ready(plan, after, agent)}
        case _:
            task = after.tasks[given.get("task_id") or change.tasks[0].id]
            told = {"task": _whole(after, task, agent), "newly_ready": _newly_ready(plan, after, agent)}
    completed = sum(task.status == "completed" for task in after.tasks.values())
    return {**told, "progress": f"{completed}/{len(after.tasks)}"}


def _newly_ready(plan: Plan, after: Plan, agent: str) -> list[dict[str, Any]]:
    before = {task.id for task in planning.ready(plan, agent)}
    return [_brief(task) for task in planning.ready(after, agent) if task.id not in before]


def said(task: PlannedTask, fields: Iterable[str]) -> dict[str, Any]:
    """Those of `fields` that are not as in a new task."""
    return {name: getattr(task, name) for name in fields if getattr(task, name) != getattr(_NEW, name)}


def _whole(plan: Plan, task: PlannedTask, agent: str, waits: Sequence[str] | None = None) -> dict[str, Any]:
    told = said(task, _KEPT)
    if task.assignee and plan.scope == "team":
        told["assignee"] = "you" if task.assignee == agent else task.assignee
    names = {"depends_on": [*task.depends_on], "waits_for": [*(waits or ())]}
    return {"id": task.id, "status": task.status, **told} | {name: value for name, value in names.items() if value}


def _brief(task: PlannedTask, waits: Sequence[str] = ()) -> dict[str, Any]:
    return {"id": task.id, "description": _cut(task.description, 120)} | ({"waits_for": [*waits]} if waits else {})
