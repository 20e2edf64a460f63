"""A plan as a file that people read, change and give back: YAML, a list of `tasks`."""

from pathlib import Path
from typing import Any, cast

from massgen.errors import UsageError
from massgen.planning import Change, Plan, PlannedTask
from massgen.planning import tools as planning_tools

MAX_BYTES = 1_000_000
_KEPT = ("description", "depends_on", "priority", "parent", "context", "metadata")


def written(plan: Plan) -> str:
    """`plan` as such a file, without how far it is."""
    import yaml

    tasks = [{"id": task.id, **_said(task)} for task in plan.tasks.values()]
    return yaml.safe_dump({"tasks": tasks}, sort_keys=False, allow_unicode=True, width=120)


def _said(task: PlannedTask) -> dict[str, Any]:
    said = planning_tools.said(task, _KEPT).items()
    return {name: [*value] if isinstance(value, tuple) else value for name, value in said}


def read(path: Path, at: float) -> Change:
    """The plan in the file `path` (YAML, or JSON) as a team's new one. Raises `UsageError` that says what is wrong with it."""
    import yaml

    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise UsageError(
                f"a plan of {len(data):,} bytes is larger than the {MAX_BYTES:,} that are read", where=str(path)
            )
        given: Any = yaml.safe_load(data.decode())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        why = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise UsageError(f"the plan cannot be read: {why}", where=str(path)) from None
    tasks: object = cast("dict[str, Any]", given).get("tasks") if isinstance(given, dict) else given
    outcome = planning_tools.call(Plan(scope="team"), "create_task_plan", {"tasks": tasks or []}, agent="", at=at)
    if outcome.change is None:
        raise UsageError(
            f"that is no plan: {outcome.result.get('error', '')}",
            where=str(path),
            fix='It looks like {tasks: [{id: a, description: "..."}, {id: b, description: "...", depends_on: [a]}]}.',
        )
    return outcome.change
