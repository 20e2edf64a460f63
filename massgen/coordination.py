"""The rules of the team: what is due, what is on a ballot, which acts are acceptable. Pure: no I/O, clock or dice.

First answers are independent; then every agent votes or answers anew. A vote counts while its voter has seen every
current answer, so a new answer voids the votes before it. When every living agent's vote counts, the plurality wins.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from massgen.acts import Act, Final, NewAnswer, Verdict, Vote
from massgen.events import Ballot, Chosen, Fact, PlanChanged, Presented, Purpose, Stopped, TurnFailed, VotingOpened
from massgen.planning import MOST_TASKS, Plan, released
from massgen.state import GONE, Seat, State, label_number, normalised


@dataclass(frozen=True, slots=True)
class Rules:
    """How a team decides; the fields are those of the configuration's `orchestrator` section."""

    max_new_answers_per_agent: int | None = 3
    answer_novelty_requirement: Literal["lenient", "balanced", "strict"] = "lenient"
    first_answers: Literal["independent", "as_they_come"] = "independent"
    stop: Literal["consensus", "decided"] = "consensus"
    skip_voting: bool = False
    final_answer_strategy: Literal["winner_present", "winner_reuse"] = "winner_present"
    max_restarts: int = 0
    planning: Literal["off", "agent", "team"] = "off"
    """Whether agents have plans of tasks: each its own, or all one."""
    max_tasks_per_plan: int = MOST_TASKS


# --- what is due ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """An agent is to be asked."""

    agent: str
    purpose: Purpose


Step: TypeAlias = Ask | Fact


def due(state: State, rules: Rules) -> list[Step]:
    """What is to happen now: agents to ask and facts to record. Empty: wait for a turn to end, or the run is over."""
    if state.stopped or state.asked is None:
        return []
    if first := next(freed(state), None):
        return [first]
    if state.chosen is None:
        return _summary(state) if state.oldest and state.living else _deliberation(state, rules)
    if cancelled := _cancelled(state, "solo", "answer", "decide"):
        return cancelled
    if state.presented is None:
        return _presentation(state, rules, state.chosen)
    return _conclusion(state, rules, state.chosen)


PLANLESS: tuple[Purpose, ...] = ("evaluate", "summarise")
"""Purposes of turns in which no plan is open to the agent."""


def plan_of(state: State, rules: Rules, agent: str) -> tuple[str, Plan]:
    """The name of the plan that `agent` works by, and the plan."""
    scope = "agent" if rules.planning == "off" else rules.planning
    name = agent if scope == "agent" else ""
    return name, replace(state.plans.get(name, Plan()), limit=rules.max_tasks_per_plan, scope=scope)


def freed(state: State, ending: str = "") -> Iterator[Fact]:
    """Puts back what agents were doing who left, or whose turn failed; with an `ending`, turns that are open fail, too."""
    plans = ((name, plan) for name, plan in state.plans.items() if not name or name in state.seats)
    for name, plan in plans:
        for agent in dict.fromkeys(task.assignee for task in plan.tasks.values() if task.status == "in_progress"):
            seat = state.seats.get(agent)
            why = (seat.left or seat.failed or (ending if seat.turn else "")) if seat else GONE
            if agent and why:
                yield PlanChanged(agent, None, name, released(plan, agent, why).tasks)


def _summary(state: State) -> list[Step]:
    """Who gave the last answer, if still in the team, tells the oldest part of the conversation in short."""
    if any(seat.turn is not None and seat.purpose == "summarise" for seat in state.living):
        return []
    first = min(state.living, key=lambda seat: seat.agent != state.history[-1].author)
    return [Ask(first.agent, "summarise")]


def _cancelled(state: State, *purposes: Purpose) -> list[Step]:
    """The end of open turns that are not needed any more: one that was taken up may not be, by other rules."""
    open_turns = [seat for seat in state.seats.values() if seat.turn is not None and seat.purpose in purposes]
    return [TurnFailed(seat.agent, seat.turn or 0, "cancelled", "the vote was over") for seat in open_turns]


def _deliberation(state: State, rules: Rules) -> list[Step]:
    if verdict := _verdict(state, rules):
        return [verdict]
    idle = [seat for seat in state.living if seat.turn is None]
    if state.alone:
        return [Ask(seat.agent, "solo") for seat in idle]
    if not _open(state, rules) or not state.answers:
        if state.answers and all(seat.answer for seat in state.living):
            return [VotingOpened("all answered")]
        return [Ask(seat.agent, "answer") for seat in idle if not seat.answer]
    return [Ask(seat.agent, "decide") for seat in idle if seat.vote is None and not _alone(state, seat)]


def _alone(state: State, seat: Seat) -> bool:
    """Whether the only answer is its own while others are at work, who may yet give one: a vote now would be wasted."""
    others = (other for other in state.living if other.agent != seat.agent)
    return [*state.answers] == [seat.answer] and any(other.vote is None for other in others)


def _open(state: State, rules: Rules) -> bool:
    return state.voting_open or (rules.first_answers == "as_they_come" and not rules.skip_voting)


def patient(state: State, rules: Rules) -> bool:
    """Whether the team waits for first answers while it has some: patience may run out."""
    return bool(state.answers) and not state.chosen and not _open(state, rules)


def _verdict(state: State, rules: Rules) -> Fact | None:
    if not state.answers:
        return None if state.living else _without_answer(state)
    if not state.living:
        return Chosen(state.leader, state.tally, "all failed")
    if state.alone:
        return Chosen(state.leader, {}, "single agent")
    if not _open(state, rules):
        return None
    if rules.skip_voting:
        return Chosen(state.leader, {}, "voting skipped")
    return _by_vote(state, rules)


def _without_answer(state: State) -> Presented | Stopped:
    """Nobody is left to answer; what an earlier attempt presented is better than nothing."""
    if state.presented:
        return Stopped("all failed")
    return replace(state.previous, turn=None) if state.previous else Stopped("no answer")


def _by_vote(state: State, rules: Rules) -> Chosen | None:
    undecided = [seat for seat in state.living if seat.vote is None]
    if not undecided:
        return Chosen(state.leader, state.tally, "consensus")
    if len(state.living) == 1 and undecided[0].answer and len(state.entries) == 1 and undecided[0].turn is None:
        return Chosen(state.leader, state.tally, "only answer")
    if rules.stop == "decided" and all(seat.answer for seat in state.living) and _settled(state, len(undecided)):
        return Chosen(state.leader, state.tally, "decided")
    return None


def _settled(state: State, outstanding: int) -> bool:
    """Whether no distribution of the outstanding votes makes another entry win (of equals, the earliest does)."""
    tally, leader = state.tally, state.leader
    others = (entry[0] for entry in state.entries if entry[0] != leader)
    return all(tally.get(seq, 0) + outstanding < tally.get(leader, 0) + (seq > leader) for seq in others)


def _presenter(state: State, chosen: Chosen) -> Seat | None:
    """Who presents: the winner, or whoever else gave the same answer, if still in the team."""
    entry = next((entry for entry in state.entries if chosen.answer in entry), ())
    authors = (state.seats[state.answers[seq].agent] for seq in entry)
    return next((seat for seat in authors if not seat.left), None)


def _presentation(state: State, rules: Rules, chosen: Chosen) -> list[Step]:
    presenter = _presenter(state, chosen)
    as_it_stands = rules.final_answer_strategy == "winner_reuse" or chosen.why in ("single agent", "all failed")
    if presenter is None or as_it_stands:
        return _cancelled(state, "present") or [_reused(state, chosen)]
    return [] if presenter.turn else [Ask(presenter.agent, "present")]


def _reused(state: State, chosen: Chosen) -> Presented:
    answer = state.answers[chosen.answer]
    return Presented(answer.agent, None, answer.content)


def _conclusion(state: State, rules: Rules, chosen: Chosen) -> list[Step]:
    evaluator = _presenter(state, chosen)
    if state.evaluated or evaluator is None or state.restarts >= rules.max_restarts:
        return _cancelled(state, "evaluate") or [Stopped("all failed" if chosen.why == "all failed" else "answered")]
    return [] if evaluator.turn else [Ask(evaluator.agent, "evaluate")]


def cut_short(state: State) -> list[Fact]:
    """What to record when time has run out: the end of open turns, and the best answer so far, if there is one."""
    ended = [*interrupted(state, "cancelled", "time ran out"), *freed(state, "time ran out")]
    if state.presented:
        return [*ended, Stopped("answered")]
    if state.answers:
        chosen = state.chosen or Chosen(state.leader, state.tally, "timeout")
        return [*ended, *([] if state.chosen else [chosen]), _reused(state, chosen), Stopped("timeout")]
    if state.previous:
        return [*ended, replace(state.previous, turn=None), Stopped("timeout")]
    return [*ended, Stopped("timeout")]


def interrupted(state: State, kind: Literal["cancelled", "interrupted"], cause: str) -> list[Fact]:
    """The end of every open turn."""
    return [TurnFailed(seat.agent, seat.turn, kind, cause) for seat in state.seats.values() if seat.turn is not None]


# --- the ballot ----------------------------------------------------------------------------------------------------


def ballot(state: State, shuffle: Callable[[list[tuple[int, ...]]], None]) -> Ballot:
    """The current answers under neutral labels, in an order of their own for each voter: position sways models."""
    entries = state.entries
    shuffle(entries)
    return {f"agent{number}": entry for number, entry in enumerate(entries, 1)}


def updated_ballot(state: State, seat: Seat) -> Ballot:
    """The ballot of `seat` brought up to date within its turn: a label stays with its author, new ones are added."""
    labels = {state.authors[seq]: label for label, entry in seat.ballot.items() for seq in entry}
    updated: dict[str, tuple[int, ...]] = {}
    used = seat.labels
    for entry in state.entries:
        known = (labels.get(state.authors[seq], "") for seq in entry)
        label = next((label for label in known if label and label not in updated), "")
        if not label:
            used += 1
            label = f"agent{used}"
        updated[label] = entry
    return dict(sorted(updated.items(), key=lambda item: label_number(item[0])))


# --- which acts are acceptable -------------------------------------------------------------------------------------

NOVELTY = {"lenient": 1.0, "balanced": 0.7, "strict": 0.5}
"""The largest share of words (Jaccard) a further answer may have in common with one on the ballot."""


ACTS: dict[Purpose, tuple[type[Act], ...]] = {
    "solo": (Final, NewAnswer),
    "answer": (NewAnswer,),
    "decide": (NewAnswer, Vote),
    "present": (Final,),
    "evaluate": (Verdict,),
    "summarise": (Final,),
}
"""What a turn may end in. Our own loop offers nothing else; other agents are held to it."""


def may_answer(state: State, rules: Rules, agent: str) -> bool:
    """Whether `agent` is below its cap of answers."""
    cap = rules.max_new_answers_per_agent
    return cap is None or state.seats[agent].given < cap


def refusal(state: State, rules: Rules, agent: str, act: Act) -> str | None:
    """Why `act` cannot end the open turn of `agent`, in words for the model; None if it can."""
    seat = state.seats[agent]
    if not isinstance(act, ACTS[seat.purpose]):
        return f"This turn cannot end so, but in: {', '.join(kind.__name__ for kind in ACTS[seat.purpose])}."
    match act:
        case Final(content):
            what = "summary" if seat.purpose == "summarise" else "final answer"
            return None if content.strip() else f"The {what} was empty. Write it."
        case Verdict():
            return None
        case Vote(label):
            if label in seat.ballot:
                return None
            return f"There is no answer {label[:40]!r}. Vote for one of: {', '.join(seat.ballot)}."
        case _:
            return _answer_refusal(state, rules, seat, act.content)


def _answer_refusal(state: State, rules: Rules, seat: Seat, content: str) -> str | None:
    if not content.strip():
        return "The answer was empty. Call new_answer with the complete answer as content."
    if not seat.ballot:
        return None
    if not may_answer(state, rules, seat.agent):
        return "You have given all the answers you may. Vote for the best one."
    for label, entry in seat.ballot.items():
        shown = next((state.answers[seq] for seq in entry if seq in state.answers), None)
        if shown and (shown.key == normalised(content) or _too_close(shown.content, content, rules)):
            return f"This adds nothing to {label}'s answer. Vote for it, or give an answer that is clearly different."
    return None


def _too_close(shown: str, content: str, rules: Rules) -> bool:
    limit = NOVELTY[rules.answer_novelty_requirement]
    return limit < 1 and _overlap(shown, content) > limit


def _overlap(one: str, other: str) -> float:
    left, right = set(re.findall(r"\w+", one.lower())), set(re.findall(r"\w+", other.lower()))
    return len(left & right) / len(left | right) if left | right else 1.0
