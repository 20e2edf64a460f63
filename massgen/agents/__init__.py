"""An agent takes turns: it is shown the question and some answers, and ends in exactly one act."""

from asyncio import Timeout
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from massgen.acts import Act, Final, NewAnswer, Verdict, Vote
from massgen.events import Fact, PlanChanged, Purpose, ToolReturned
from massgen.messages import Chunk, Media, Message, ToolCall
from massgen.planning import PlannedTask
from massgen.state import Exchange
from massgen.toolbox import Returned

__all__ = ["Act", "Agent", "Final", "NewAnswer", "Task", "Turn", "Verdict", "Vote"]


@dataclass(frozen=True, slots=True)
class Task:
    """What the user asked, what was said before, and what an earlier attempt at it taught."""

    question: str
    media: tuple[Media, ...] = ()
    previous_answer: str = ""
    """The final answer of the attempt that was sent back; empty in the first attempt."""
    feedback: str = ""
    """What that attempt was told to do better."""
    history: tuple[Exchange, ...] = ()
    """The conversation before this question, earliest first."""
    summary: str = ""
    """What was said before that, in short."""
    room: int = 0
    """Characters that the conversation and its summary may have; 0: any number."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """A plan as one agent works by it."""

    mine: Sequence[PlannedTask] = ()
    """What it is doing."""
    next: Sequence[PlannedTask] = ()
    """What it could start, most important first."""
    lost: Sequence[PlannedTask] = ()
    """What it was doing when its turn failed, unless it has that again or it is completed."""
    done: int = 0
    count: int = 0
    """Of tasks in the plan."""


class Record(Protocol):
    """Appends facts to the log, of which a crash leaves all or none."""

    def __call__(self, *facts: Fact) -> object: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: why the agent is asked, what it is shown, and the ways it reports back."""

    seq: int
    """The `seq` of its `TurnBegan`."""
    agent: str
    purpose: Purpose
    task: Task
    answers: Mapping[str, str]
    """Label -> answer, in the order to show them; empty for a first answer."""
    may_answer: bool
    """Whether a new answer is allowed (else only a vote)."""
    record: Record
    """Appends facts to the log."""
    show: Callable[[Chunk], None]
    """Shows a chunk; never stored."""
    news: Callable[[], Mapping[str, str] | None]
    """The answers as they are now if they changed since the agent was last shown them (and records that it was shown
    them), else None. Labels keep their meaning throughout the turn."""
    refusal: Callable[[Act], str | None]
    """Why an act is not acceptable, in words for the model; None if it is."""
    said: Callable[[], Message | None] = lambda: None
    """The next reply that a model gave in this turn before its process ended: it is paid for, and is not asked for again."""
    used: Callable[[], bool] = lambda: False
    """Whether the tools that are to be used next were, or were to be, before the turn was taken up."""
    returned: Callable[[], ToolReturned | None] = lambda: None
    """What the next of them returned then, if it did."""
    plan: Callable[[ToolCall], tuple[PlanChanged | None, Returned]] | None = None
    """Does what a tool call asks to be done with the agent's plan, if it has one: what is to be recorded, and the result."""
    tasks: Callable[[], Tasks] = Tasks
    """Where that plan stands."""
    votes: Mapping[str, tuple[str, ...]] | None = None
    """For `present`: label -> the reasons of those who voted for it. The first label of `answers` won."""
    draft: str = ""
    """For `evaluate`: the presented answer."""
    limit: Timeout | None = None
    """What ends the turn when it takes too long. It stands still while a person is asked."""


class Agent(Protocol):
    """A member of the team: our own loop around a backend, or a program that owns its own loop."""

    @property
    def id(self) -> str: ...

    async def turn(self, turn: Turn) -> Act:
        """Take `turn` and return its act. Raises `BackendError` or `ProtocolError` when it comes to none."""
        ...

    async def aclose(self) -> None:
        """Release what the agent holds."""
        ...
