"""The acts a turn can end in."""

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """The agent's own answer."""

    content: str


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote for the answer shown under `label`."""

    label: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Final:
    """The final answer, for the user."""

    content: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The winner's judgement of the final answer; `restart` sends the team back with `instructions`."""

    verdict: Literal["submit", "restart"]
    reason: str = ""
    instructions: str = ""


Act: TypeAlias = NewAnswer | Vote | Final | Verdict
