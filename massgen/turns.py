"""What an agent is shown in a turn, from where the run stands. Pure."""

from collections.abc import Mapping

from massgen.agents import Task, Tasks, Turn
from massgen.coordination import Rules, plan_of
from massgen.events import Ballot, Purpose
from massgen.planning import ready
from massgen.state import Seat, State


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
