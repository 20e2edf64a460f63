"""What models write into the calls of the planning tools, and how it is meant.

Slips whose meaning is plain are mended: a list as JSON text, `done` for completed, `title` for description. All else is refused
in words that say what to write instead. Nothing that is JSON makes `read` raise anything but `PlanError`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, TypeAlias, cast

from massgen.messages import well_formed
from massgen.planning import MOST_TASKS, PlanError, listed

Schema: TypeAlias = Mapping[str, Any]
_Reader: TypeAlias = Callable[[Any, str, Schema], Any]
LONGEST = 2000
"""Characters of a description, a context, the metadata of a task."""
_MOST = 2 * MOST_TASKS
"""Tasks that are read at all: what is wrong with a few too many is the plan's to say."""
_LEVELS = 8
"""How deep metadata may be nested: whoever records it must be able to follow."""
_SLIPS = {
    "done": "completed", "complete": "completed", "finished": "completed",
    "started": "in_progress", "inprogress": "in_progress", "doing": "in_progress",
    "todo": "pending", "to_do": "pending", "not_started": "pending",
    "urgent": "high", "critical": "high", "normal": "medium",
}  # fmt: skip
_ALIASES = {
    "id": "task_id", "task_id": "id", "task": "description", "title": "description", "dependencies": "depends_on",
}  # fmt: skip
_HINTS = {
    "blocked": " A task is blocked by what it depends_on, never by its status.",
    "cancelled": " To drop a task, call delete_task.",
}


def read(given: Any, schema: Schema, where: str) -> dict[str, Any]:
    """The fields of `given` that are not null, each as it is meant: ids as texts, also where they may be positions."""
    fields = schema["properties"]
    if not isinstance(given, Mapping):
        raise PlanError(f"{where} takes an object with {_listed(fields)}.")
    values = {str(name): value for name, value in cast("Mapping[Any, Any]", given).items() if value is not None}
    strange = sorted(values.keys() - fields.keys())
    for slip in strange:
        if (name := _ALIASES.get(slip, "")) in fields and name not in values:
            values[name] = values.pop(slip)
    if unknown := [quoted(name) for name in strange if name in values]:
        raise PlanError(f"{where} takes no {listed(unknown)}; it takes {_listed(fields)}.")
    if missing := [name for name in schema["required"] if name not in values]:
        raise PlanError(f"{where} needs {_listed(missing)}.")
    return {name: _READERS[name](value, f"{where}.{name}", fields[name]) for name, value in values.items()}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "no fields"


def quoted(value: Any) -> str:
    return repr(value[:60]) if isinstance(value, str) else f"a value of type {type(value).__name__}"


def metadata(value: Any, where: str) -> dict[str, Any]:
    """A copy of `value` that any JSON writer takes; raises `PlanError`."""
    text = ""
    if isinstance(value, Mapping) and _small(value):
        with suppress(TypeError, ValueError):
            text = well_formed(json.dumps(value, allow_nan=False, ensure_ascii=False))
    if not 0 < len(text) <= LONGEST:
        raise PlanError(f"{where} must be an object of at most {LONGEST} characters, {_LEVELS} levels deep.")
    return json.loads(text)


def _small(value: Any) -> bool:
    """Whether it is nested so deep at most, and no level has more in it than there may be characters."""
    level: list[Any] = [value]
    for _ in range(_LEVELS):
        if len(level) > LONGEST:
            return False
        level = [*islice((inner for each in level for inner in _inside(each)), LONGEST + 1)]
    return not any(isinstance(each, dict | list) for each in level)


def _inside(value: Any) -> Iterable[Any]:
    inner = cast("dict[Any, Any]", value).values() if isinstance(value, dict) else value
    return cast("Iterable[Any]", inner) if isinstance(value, dict | list) else ()


def _metadata(value: Any, where: str, schema: Schema) -> dict[str, Any]:
    return metadata(value, where)


def _text(value: Any, where: str, schema: Schema) -> str:
    if not isinstance(value, str) or not 0 < len(value.strip()) <= LONGEST:
        raise PlanError(f"{where} must be a text of 1 to {LONGEST} characters.")
    return value.strip() if value.isascii() else well_formed(value.strip())


def _context(value: Any, where: str, schema: Schema) -> str:
    return _text(json.dumps(metadata(value, where)) if isinstance(value, dict) else value, where, schema)


def _id(value: Any, where: str, schema: Schema) -> str:
    number = str(value) if type(value) is int and abs(value) < 10**9 else ""
    name = value.strip() if isinstance(value, str) else number
    if not 0 < len(name) <= 64 or not name.isprintable():
        raise PlanError(f"{where} must be an id, like t1 (a line of at most 64 characters), not {quoted(value)}.")
    return name


def _choice(value: Any, where: str, schema: Schema) -> str:
    word = value.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(value, str) else ""
    if (meant := _SLIPS.get(word, word)) not in schema["enum"]:
        allowed = ", ".join(schema["enum"])
        raise PlanError(f"{where} must be one of {allowed}, not {quoted(value)}.{_HINTS.get(word, '')}")
    return meant


def _list(value: Any) -> list[Any]:
    """Also from JSON as text; what is no list is a list of one."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _references(value: Any, where: str, schema: Schema) -> list[str]:
    return [_id(each, where, schema) for each in _few(_list(value), where)]


def _tasks(value: Any, where: str, schema: Schema) -> list[dict[str, Any]]:
    return [_task(each, f"{where}[{number}]", schema["items"]) for number, each in enumerate(_few(_list(value), where))]


def _few(tasks: list[Any], where: str) -> list[Any]:
    """`tasks`, of which a call could hold a million: to read them all would take seconds, in which nobody else is heard."""
    if len(tasks) > _MOST:
        raise PlanError(f"{where} has {len(tasks)} tasks. A plan has at most {MOST_TASKS}.")
    return tasks


def _task(value: Any, where: str, schema: Schema) -> dict[str, Any]:
    """A new task is pending: that need not be said, and may be."""
    if not isinstance(value, dict):
        return {"description": _text(value, where, schema)}
    fields = cast("dict[str, Any]", value)
    if fields.get("status") == "pending":
        fields = {name: each for name, each in fields.items() if name != "status"}
    return read(fields, schema["anyOf"][1], where)


_READERS: Mapping[str, _Reader] = {
    **dict.fromkeys(("id", "task_id", "after_task_id", "parent"), _id),
    **dict.fromkeys(("status", "priority"), _choice),
    "tasks": _tasks,
    "depends_on": _references,
    "description": _text,
    "context": _context,
    "metadata": _metadata,
}
