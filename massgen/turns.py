"""What an agent is shown in a turn, and what its act and its changes of a plan are, from where the run stands. Pure."""

import json
from collections.abc import Mapping

from massgen.acts import Act, Final, NewAnswer, Vote
from massgen.agents import Task, Tasks, Turn
from massgen.coordination import Rules, plan_of
from massgen.events import Answered, Ballot, Evaluated, Fact, PlanChanged, Presented, Purpose, Summarised, Voted
from massgen.messages import ToolCall
from massgen.planning import Change, Plan, ready
from massgen.planning import tools as planning_tools
from massgen.state import Seat, State
from massgen.toolbox import Returned


def shown(state: State, seat: Seat, may_answer: bool) -> Turn:
    """The open turn of `seat` as it begins. It reports to nobody, hears no news and refuses nothing: give it ears."""
    presented = state.presented
    return Turn(
        seq=seat.turn or 0,
        agent=seat.agent,
        purpose=seat.purpose,
        task=task(state, seat.purpose),
        answers={
            label: state.answers[entry[0]].content for label, entry in seat.ballot.items() if entry[0] in state.answers
        },
        may_answer=may_answer,
        record=lambda *facts: None,
        show=lambda chunk: None,
        news=lambda: None,
        refusal=lambda act: None,
        votes=_votes(state, seat.ballot) if seat.purpose == "present" else None,
        draft=presented.content if presented and seat.purpose == "evaluate" else "",
    )


def task(state: State, purpose: Purpose) -> Task:
    """What the agent is to work on: the question, or the part of the conversation that is to be summarised."""
    room = state.asked.window if state.asked else 0
    if purpose == "summarise":
        return Task("", history=state.oldest, summary=state.summary, room=room)
    return Task(
        state.asked.question if state.asked else "",
        state.asked.media if state.asked else (),
        state.previous.content if state.previous else "",
        state.feedback,
        state.history,
        state.summary,
        room,
    )


def _votes(state: State, ballot: Ballot) -> Mapping[str, tuple[str, ...]]:
    """Label -> the reasons of its counted votes."""
    voters = [seat for seat in state.seats.values() if seat.vote is not None]
    return {label: tuple(seat.reason for seat in voters if seat.vote in entry) for label, entry in ballot.items()}


def tasks_of(state: State, rules: Rules, agent: str) -> Tasks:
    """Where the plan that `agent` works by stands."""
    if rules.planning == "off":
        return Tasks()
    plan = plan_of(state, rules, agent)[1]
    every, lost = plan.tasks.values(), state.seats[agent].lost
    return Tasks(
        mine=[task for task in every if task.status == "in_progress" and task.assignee == agent],
        next=ready(plan, agent),
        lost=[task for task in every if task.id in lost and task.status != "completed" and task.assignee != agent],
        done=sum(task.status == "completed" for task in every),
        count=len(every),
    )


def plan_changed(
    state: State, rules: Rules, agent: str, turn: int, call: ToolCall, *, at: float
) -> tuple[PlanChanged | None, Returned]:
    """What comes of a planning tool's `call`: the change to be recorded, if any, and what the agent gets."""
    name, plan = plan_of(state, rules, agent)
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = call.arguments  # which is no object, and is told so
    outcome = planning_tools.call(plan, call.name, arguments, agent=agent, at=at)
    returned = Returned(json.dumps(outcome.result, ensure_ascii=False), outcome.is_error)
    change = outcome.change
    return change and PlanChanged(agent, turn, name, change.tasks, change.deleted, change.order), returned


def plan_given(state: State, plan: Change) -> PlanChanged:
    """The user's `plan`, a new one, for the team's, in its own order, whatever of it there was before."""
    names, before = [task.id for task in plan.tasks], state.plans.get("", Plan()).tasks
    gone = tuple(name for name in before if name not in names)
    return PlanChanged("", None, "", plan.tasks, gone, tuple(names) if before.keys() & {*names} else ())


def fact(state: State, turn: Turn, act: Act) -> Fact:
    """What is recorded of an acceptable `act` that ends `turn`."""
    agent, seq = turn.agent, turn.seq
    match act:
        case Final(content) if turn.purpose == "present":
            return Presented(agent, seq, content)
        case Final(content) if turn.purpose == "summarise":
            return Summarised(agent, seq, state.oldest[-1].seq, content[: state.summary_room])
        case Final(content) | NewAnswer(content):
            return Answered(agent, seq, content)
        case Vote(label, reason):
            return Voted(agent, seq, state.seats[agent].ballot[label][0], reason)
        case _:
            return Evaluated(agent, seq, act.verdict, act.reason, act.instructions)
