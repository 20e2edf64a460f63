"""A session as a recording: which model calls its facts hold, what came of each, and in which order.

A log holds no requests, but they follow from it: see `massgen.replay.retaking`.
"""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from massgen import sessions
from massgen.backends import Request
from massgen.backends.conductor import NEVER, Breath, Limit
from massgen.backends.replay import Call
from massgen.config.limit_rules import entries
from massgen.coordination import PLANLESS, Rules, may_answer
from massgen.errors import LogError
from massgen.events import (
    Answered,
    Asked,
    Chosen,
    Fact,
    Informed,
    Member,
    Recorded,
    Resumed,
    Stopped,
    TurnBegan,
    TurnFailed,
    VotingOpened,
)
from massgen.log import read
from massgen.prompts import ROLES
from massgen.replay.recorded_tools import RecordedBox, Used, used
from massgen.replay.retaking import Witness, agent_like
from massgen.state import State, apply
from massgen.turns import shown, tasks_of

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Late:
    """A turn in which answers arrived before the agent could begin: by the time of its first call it was told of them."""

    agent: str
    place: int
    """The `seq` of that."""
    question: int


@dataclass(frozen=True, slots=True)
class Recording:
    """What a session holds for its replay."""

    where: str
    members: Mapping[str, Member]
    calls: Mapping[str, Sequence[Call]]
    """By agent, in their order."""
    uses: Mapping[str, Sequence[Used]]
    """Of tools, by agent, in their order."""
    breaths: Sequence[Breath]
    ballots: Sequence[Sequence[tuple[int, ...]]]
    """Those that were shuffled, in their order."""
    late: Mapping[int, Late]


def load(folder: Path, env: Mapping[str, str]) -> Recording:
    """The recording in a session's folder; instructions that name variables take them from `env`. Raises `LogError` for what
    cannot be read, or cannot be the log of a run."""
    path = folder / sessions.LOG_NAME
    facts = read(path)
    reading = _Reading(env, facts)
    for recorded in facts:
        try:
            reading.add(recorded)
        except (LogError, LookupError, TypeError, ValueError):  # an agent, an answer or a label that there is not
            raise LogError(
                "this fact does not follow from those before it",
                where=f"{path}:{recorded.seq + 1}",
                fix=f"massgen verify {folder} tells more.",
            ) from None
    if not reading.members:
        raise LogError("it holds no question, so there is nothing to replay", where=str(path))
    reading.breathe()
    ballots = [[*each.fact.ballot.values()] for each in facts if isinstance(each.fact, TurnBegan) and each.fact.ballot]
    return Recording(str(folder), reading.members, reading.calls, reading.uses, reading.breaths, ballots, reading.late)


# --- taking the turns again ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    env: Mapping[str, str]
    facts: Sequence[Recorded]
    state: State = field(default_factory=State)
    members: dict[str, Member] = field(default_factory=dict[str, Member])
    calls: dict[str, list[Call]] = field(default_factory=dict[str, list[Call]])
    uses: dict[str, list[Used]] = field(init=False)
    breaths: list[Breath] = field(default_factory=list[Breath])
    late: dict[int, Late] = field(default_factory=dict[int, Late])
    _turns: dict[int, list[Recorded]] = field(default_factory=dict[int, list[Recorded]])
    _contents: dict[int, str] = field(default_factory=dict[int, str])
    _at_work: dict[int, frozenset[str]] = field(default_factory=dict[int, frozenset[str]])
    """Who had an open turn before the fact of that `seq`."""

    def __post_init__(self) -> None:
        self.uses = used(self.facts)
        for recorded in self.facts:
            match recorded.fact:
                case Answered(_, _, content):
                    self._contents[recorded.seq] = content
                case _:
                    pass
            if turn := getattr(recorded.fact, "turn", None):
                self._turns.setdefault(turn, []).append(recorded)

    def add(self, recorded: Recorded) -> None:
        self._at_work[recorded.seq] = frozenset(each.agent for each in self.state.seats.values() if each.turn)
        self.state = apply(self.state, recorded)
        match recorded.fact:
            case Asked() | Resumed() as put:
                self.members |= {member.id: member for member in put.roster}
            case TurnBegan(agent):
                self._take(agent)
            case _:
                pass

    def _take(self, agent: str) -> None:
        seat, member, asked = self.state.seats[agent], self.members[agent], self.state.asked
        config: Mapping[str, Any] = asked.config if asked else {}
        (rules, sensitivity), own = _rules(config), _instructions(config, agent, self.env)
        turn = shown(self.state, seat, may_answer(self.state, rules, agent))
        past = deque(self._turns.get(turn.seq, ()))
        if past and isinstance(past[0].fact, Informed):
            self.late[turn.seq] = Late(agent, past[0].seq, self.state.seq)
        heading = Call(turn.seq, turn.purpose, self.state.seq, Request(()))
        witness, box = Witness(member.model, heading, past, self._contents), RecordedBox(self.uses.get(agent, ()))
        plan = None if rules.planning == "off" or turn.purpose in PLANLESS else tasks_of(self.state, rules, agent)
        calls = witness.watch(agent_like(member, agent, witness, own, sensitivity, box), turn, plan)
        self.calls.setdefault(agent, []).extend(calls)

    def breathe(self) -> None:
        """Part the outcomes of calls into those that came at once, and tell when time ran out."""
        beats = {place: agent for agent, calls in self.calls.items() for call in calls for place in _places(call)}
        beats |= {late.place: late.agent for late in self.late.values()}
        beats |= {use.place: agent for agent, uses in self.uses.items() for use in uses if use.place != NEVER}
        question, over, acted, run = 0, False, False, list[int]()
        for recorded in self.facts:
            limit = ran_out(recorded.fact)
            if recorded.seq in beats:
                run.append(recorded.seq)
            elif limit or _acted(recorded.fact):
                acted = (not self._breathe(run, beats, question) and acted) or not limit
                run = []
            if limit and not over:
                self.breaths.append(
                    Breath(recorded.seq, self._at_work[recorded.seq], question, limit, sudden=not acted)
                )
                acted, over = False, limit[0] == "run"  # which is over for all that are at work
            if isinstance(recorded.fact, Asked):
                question, over = recorded.seq, False
        self._breathe(run, beats, question)

    def _breathe(self, run: list[int], beats: Mapping[int, str], question: int) -> bool:
        """Add what came between two acts of the team; whether there was something."""
        for places in _parted(run, beats):
            self.breaths.append(Breath(places[-1] + 1, self._at_work[places[0]], question))
        return bool(run)


def _places(call: Call) -> list[int]:
    return [*(place for place, _ in call.waits), *([call.place] if call.outcome else [])]


def _acted(fact: Fact) -> bool:
    """Whether the team did it, not an agent in its turn."""
    match fact:
        case TurnFailed(_, _, "error" | "protocol"):
            return False
        case TurnFailed() | TurnBegan() | VotingOpened():
            return True
        case _:
            return getattr(fact, "turn", None) is None


def ran_out(fact: Fact) -> Limit | None:
    """Which limit's time was over, if it was."""
    match fact:
        case VotingOpened("patience ran out"):
            return "patience", ""
        case TurnFailed(agent, _, "timeout"):
            return "turn", agent
        case TurnFailed(_, _, "cancelled", "time ran out") | Chosen(_, _, "timeout") | Stopped("timeout"):
            return "run", ""
        case _:
            return None


def _parted(run: Sequence[int], beats: Mapping[int, str]) -> list[list[int]]:
    """`run` in parts that may come at once: in each, what is of one agent stands together. An agent that is heard again after
    another one had time to ask again, so the parts are made from the end."""
    parts: list[list[int]] = []
    for place in reversed(run):
        agents = [beats[each] for each in parts[0]] if parts else []
        if parts and (beats[place] == agents[0] or beats[place] not in agents):
            parts[0].insert(0, place)
        else:
            parts.insert(0, [place])
    return parts


# --- the configuration that was recorded ---------------------------------------------------------------------------


def _instructions(config: Mapping[str, Any], agent: str, env: Mapping[str, str]) -> str:
    """What `agent` was told of its own, as `Config.instructions` says it. A log may hold settings of any version."""
    team = [*map(entries, cast("Sequence[Any]", config.get("agents", ())))]
    own = [each for place, each in enumerate(team, 1) if (each.get("id") or f"agent{place}") == agent]
    roles = {**ROLES, **entries(config.get("roles"))}
    told = "\n\n".join(filter(None, (str(each) for one in own for each in _told(one, roles))))
    return _VARIABLE.sub(lambda found: env.get(found[1], found[0]), told)


def _told(own: Mapping[str, Any], roles: Mapping[str, Any]) -> tuple[Any, Any]:
    return roles.get(own.get("role", ""), ""), own.get("system_message", "")


def _rules(config: Mapping[str, Any]) -> tuple[Rules, str]:
    """The rules as far as a turn shows them, and the voting sensitivity."""
    section = entries(config.get("orchestrator"))
    cap = section.get("max_new_answers_per_agent", Rules().max_new_answers_per_agent)
    plans = entries(section.get("coordination"))
    scope = plans.get("plan_scope", "agent") if plans.get("enable_agent_task_planning") else "off"
    return Rules(max_new_answers_per_agent=cap, planning=scope), section.get("voting_sensitivity", "balanced")
