"""`massgen plan show`: the plans of a session, as they stand now."""

import json
from pathlib import Path

import click

from massgen import sessions
from massgen.commands.session_dir import SESSION_DIR
from massgen.console import put, tell
from massgen.events import PlanChanged
from massgen.log import read
from massgen.plan_words import data, standing, tree
from massgen.planning import Plan
from massgen.state import fold
from massgen.streams import line

MAX_TASK = 300
"""Characters of a task, and of what is said of it."""


@click.command()
@click.argument("session", default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the plans, each with its tasks in their order.")
@SESSION_DIR
def show(session: str, as_json: bool, session_dir: Path) -> None:
    """Show the plans of SESSION: each task with how far it is, who does it, and what it waits for.

    SESSION is an id, its beginning, a name, or a path; without it, the latest. A team has one plan, or each agent its own;
    they outlast a question.
    """
    folder = sessions.find(session, session_dir)
    if not session:
        tell(f"massgen: session {folder.name}")
    plans = fold(read(folder / sessions.LOG_NAME).of(PlanChanged)).plans  # nothing else is even decoded
    if as_json:
        text = json.dumps([data(name, plan) for name, plan in plans.items()], indent=2)
    else:
        text = "\n\n".join(_titled(name, plan) for name, plan in plans.items()) or "There is no plan in this session."
    put(text, f"the session is kept in {folder}")


def shown(plan: Plan) -> str:
    """`plan` as a tree, a line for each task, below a line that says how far it is."""
    at = standing(plan)
    open_ = "" if at.over else f": {len(at.doing)} in progress, {at.ready} ready, {at.blocked} blocked"
    lines = [f"{at.done} of {at.count} tasks completed{open_}"]
    for place in tree(plan):
        mark = {"completed": "x", "in_progress": ">", "pending": " "}[place.task.status]
        what = line(f"{place.task.id}: {place.task.description}", MAX_TASK)
        lines.append(f"{'    ' * place.level}[{mark}] {what} ({line(place.state, MAX_TASK)})")
        if place.notes:
            lines.append(f"{'    ' * (place.level + 1)}{line(place.notes, MAX_TASK)}")
    return "\n".join(lines)


def _titled(name: str, plan: Plan) -> str:
    return f"The plan of {line(name, 80) or 'the team'}: {shown(plan)}"
