"""A plan as a file that people read, change and give back: YAML, a list of `tasks`."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from massgen.errors import UsageError
from massgen.planning import Change, Plan, PlannedTask
from massgen.planning import tools as planning_tools

if TYPE_CHECKING:
    import yaml

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
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError(f"the plan is larger than the {MAX_BYTES:,} bytes that are read", where=str(path))
        given: Any = yaml.load(data.decode(), _loader())  # noqa: S506 - it is a safe one
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        why = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise UsageError(f"the plan cannot be read: {why}", where=str(path)) from None
    tasks: object = cast("dict[str, Any]", given).get("tasks") if isinstance(given, dict) else given
    outcome = planning_tools.call(Plan(scope="team"), "create_task_plan", {"tasks": tasks or []}, agent="", at=at)
    if outcome.change is None:
        raise UsageError(
            f"that is no plan: {str(outcome.result.get('error')).removeprefix('create_task_plan.')}",
            where=str(path),
            fix='It looks like {tasks: [{id: a, description: "..."}, {id: b, description: "...", depends_on: [a]}]}.',
        )
    return outcome.change


@cache
def _loader() -> "type[yaml.SafeLoader]":
    """YAML's safe loader, to which a date is the text that it is, and a key that is there twice an error: else the first of
    two tasks between which a dash was forgotten is lost."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            keys = set[str]()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in keys:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key.value[:60]!r} is there twice", problem_mark=key.start_mark
                    )
                keys.add(key.value)
            return node

    Loader.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader
