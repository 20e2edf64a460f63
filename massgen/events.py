"""The facts of a run: frozen, typed, past tense. The log is a list of them; everything else is a fold over it.

A fact is referred to by its sequence number in the log (`seq`): `answer`, `choice` and the numbers of a ballot
are the `seq` of an `Answered`; `turn` is the `seq` of a `TurnBegan`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from massgen.messages import Media, Message
from massgen.planning import Change, PlannedTask

Purpose: TypeAlias = Literal["solo", "answer", "decide", "present", "evaluate", "summarise"]
"""Why an agent is asked: the only agent's whole task; an independent first answer; a vote or a better answer; the
winner's final answer; the winner's check of it; the oldest part of the conversation in short."""

Ballot: TypeAlias = Mapping[str, tuple[int, ...]]
"""Label as shown to one agent -> the answers (`seq`) under it, equal after normalisation, earliest first; in the order shown."""


@dataclass(frozen=True, slots=True)
class Member:
    """An agent of the team, as configured."""

    id: str
    backend: str
    model: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The question was put to the team."""

    question: str
    roster: tuple[Member, ...]
    media: tuple[Media, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The configuration in force, resolved; secrets as the names of their variables."""
    folder: str = ""
    """The working directory it was asked in."""
    template: str = ""
    """The file or the `@examples/NAME` that the configuration was read from; empty if from none."""
    window: int = 0
    """How many characters of the conversation before it are told whole; of a longer one, the oldest part is summarised
    first. 0: all of it is told."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that had not come to an answer goes on, by `roster` and `config`: turns that were open are taken up where they
    stopped. Who is new joins the team, who is not in it any more leaves, and who had left for a failure is back."""

    roster: tuple[Member, ...]
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Summarised:
    """The conversation up to the question `until` (its `seq`), with the answer to that, in short: agents are told `content`
    instead of it."""

    agent: str
    turn: int
    until: int
    content: str


@dataclass(frozen=True, slots=True)
class TurnBegan:
    """An agent was asked; `ballot` is what it was shown."""

    agent: str
    purpose: Purpose
    ballot: Ballot = field(default_factory=dict[str, tuple[int, ...]])


@dataclass(frozen=True, slots=True)
class Informed:
    """An agent was shown answers that arrived during its turn; `ballot` is all it has now seen."""

    agent: str
    turn: int
    ballot: Ballot


@dataclass(frozen=True, slots=True)
class Said:
    """A model call ended with this message."""

    agent: str
    turn: int
    message: Message


@dataclass(frozen=True, slots=True)
class Spent:
    """A model call used this; `cost` in US dollars, `None` where unknown; `seconds` from request to last byte."""

    agent: str
    turn: int
    model: str
    input_tokens: int
    output_tokens: int
    cost: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Retried:
    """A model call failed for a passing reason and was sent again after `delay` seconds."""

    agent: str
    turn: int
    cause: str
    delay: float


@dataclass(frozen=True, slots=True)
class Waited:
    """A model call waited `seconds` for its provider's limits: `used` of `limit` was used. `dimension`: `rpm` and the like,
    `pacing`, `cooldown`, `hold`, or a quota as the provider names it."""

    agent: str
    turn: int
    dimension: str
    used: float
    limit: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A tool is about to be used: `call` is the id that the model gave the call, `arguments` its JSON."""

    agent: str
    turn: int
    call: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """A tool was used, or refused: `content` is what came of it, whole; `seconds` it took."""

    agent: str
    turn: int
    call: str
    content: str
    is_error: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PlanChanged:
    """A plan of tasks changed: `tasks` are new or not as they were, `deleted` are gone, `order` is that of all where it is
    not the one they came in. `plan`: whose it is, empty for the team's. `turn` is None where the team took tasks back, and,
    with no `agent`, where the user gave the plan with the question."""

    agent: str
    turn: int | None
    plan: str
    tasks: tuple[PlannedTask, ...] = ()
    deleted: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    @property
    def change(self) -> Change:
        return Change(self.tasks, self.deleted, self.order)


@dataclass(frozen=True, slots=True)
class Reprompted:
    """A reply could not be accepted; the agent was told why and asked again."""

    agent: str
    turn: int
    why: str


@dataclass(frozen=True, slots=True)
class Answered:
    """An agent gave a new answer; this fact's `seq` is the answer's identity."""

    agent: str
    turn: int
    content: str


@dataclass(frozen=True, slots=True)
class Voted:
    """An agent voted for the answer `choice`; the vote counts while it saw every current answer."""

    agent: str
    turn: int
    choice: int
    reason: str


Failure: TypeAlias = Literal["error", "protocol", "timeout", "cancelled", "interrupted"]


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """A turn ended in neither act. `error` (the backend), `protocol` (no usable act) and `timeout` drop the agent;
    `cancelled` (no longer needed) and `interrupted` (the run was stopped) cost it nothing."""

    agent: str
    turn: int
    kind: Failure
    cause: str


@dataclass(frozen=True, slots=True)
class VotingOpened:
    """Answers may be seen and voted on from here."""

    why: Literal["all answered", "patience ran out"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The winning answer, the counted votes per answer, and why it was chosen now."""

    answer: int
    tally: Mapping[int, int]
    why: Literal["consensus", "decided", "single agent", "voting skipped", "only answer", "all failed", "timeout"]


@dataclass(frozen=True, slots=True)
class Presented:
    """The final answer. `turn` is None where the chosen answer was taken as it stood."""

    agent: str
    turn: int | None
    content: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The winner checked the presented answer; `restart` begins a new attempt with its `instructions`."""

    agent: str
    turn: int | None
    verdict: Literal["submit", "restart"]
    reason: str = ""
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run ended."""

    why: Literal["answered", "no answer", "all failed", "timeout", "interrupted"]


Fact: TypeAlias = (
    Asked | Resumed | Summarised | TurnBegan | Informed | Said | Spent | Retried | Waited | ToolCalled | ToolReturned
    | PlanChanged | Reprompted | Answered | Voted | TurnFailed | VotingOpened | Chosen | Presented | Evaluated | Stopped
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fact in the log: its sequence number (1, 2, ...) and when it was written (seconds since 1970, UTC)."""

    seq: int
    at: float
    fact: Fact
