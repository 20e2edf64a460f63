"""Holds a recorded change of a plan against the rules of plans. Pure."""

from massgen.coordination import PLANLESS, Rules, plan_of
from massgen.events import PlanChanged
from massgen.planning import MOST_TASKS, Change, Plan, PlanError, changed, planned
from massgen.state import Seat, State


def against(state: State, rules: Rules, fact: PlanChanged) -> str:
    """What speaks against `fact`, which an agent made in its open turn: the tools that it has would have refused it. How it
    came to it is its own business."""
    name, plan = plan_of(state, rules, fact.agent)
    purpose = state.seats[fact.agent].purpose
    if rules.planning == "off" or purpose in PLANLESS or fact.plan != name:
        return f"{fact.agent} cannot change this plan in a turn with the purpose {purpose}"
    after = changed(plan, fact.change)
    return _taken(plan, fact) or _no_plan(plan, after)


def given(state: State, rules: Rules, fact: PlanChanged) -> str:
    """What speaks against `fact`, by which the user gave the team a plan: that comes with the question."""
    if rules.planning != "team" or fact.plan or any(seat != Seat(seat.agent) for seat in state.seats.values()):
        return "a plan is given with the question, to a team that works by one"
    return _no_plan(Plan(), changed(Plan(), Change(fact.tasks)))


def _taken(plan: Plan, fact: PlanChanged) -> str:
    """Whose task it changes, if that is another agent's. A plan that is completed may be replaced by anybody."""
    touched = {*fact.deleted, *(task.id for task in fact.tasks)}
    others = (task for task in plan.tasks.values() if task.id in touched and task.assignee not in ("", fact.agent))
    other, open_ = next(others, None), any(task.status != "completed" for task in plan.tasks.values())
    return f"{other.id} is {other.assignee}'s, and not for {fact.agent} to change" if other and open_ else ""


def _no_plan(before: Plan, after: Plan) -> str:
    """Why `after` is no plan."""
    limit = before.limit if after.tasks.keys() - before.tasks.keys() else MOST_TASKS  # it may have been lowered since
    try:
        _ = planned(Plan(limit=limit), [*after.tasks.values()]) if after.tasks else None
    except PlanError as error:
        return str(error)
    return ""
