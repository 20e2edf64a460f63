"""What a transcript is made of. Texts are as the models wrote them: whoever shows them makes them safe.

`at`, here and below: seconds of running since the question.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from massgen.rosters import Change
from massgen.view import duration

Act: TypeAlias = Literal["answer", "vote", "final", "check", "summary", "failure", "unfinished"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer."""

    id: int
    """The number of its fact."""
    author: str
    attempt: int
    """From 1; each restart begins the next."""
    revision: int
    """From 1: the author's how manyth answer of the attempt."""
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote. `counted`: it stood when its attempt ended; it does not once an answer comes that it has not seen."""

    voter: str
    answer: Answer
    reason: str
    at: float
    counted: bool = False

    @property
    def void(self) -> str:
        return "" if self.counted else " (not counted: another answer came)"


@dataclass(frozen=True, slots=True)
class Final:
    """A presented answer; `sent_back`: what the winner found wrong with it, None if it stands."""

    author: str
    at: float
    text: str
    sent_back: str | None = None

    @property
    def by(self) -> str:
        """Who gave it, when, and what became of it."""
        back = "" if self.sent_back is None else f", then sent back: {self.sent_back}"
        return f"By {self.author}, after {duration(self.at)}{back}"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, as `bob` `voted for alice`, and why; `agent` is empty where it was the team."""

    at: float
    agent: str
    what: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A turn of an agent, and what it ended in."""

    agent: str
    began: float
    ended: float
    act: Act


@dataclass(frozen=True, slots=True)
class Resumption:
    """That the run went on, and with which changes of the team."""

    at: float
    change: Change


@dataclass(frozen=True, slots=True)
class Summary:
    """What agents were told of the conversation up to its question number `until`, from 1, instead of that."""

    author: str
    at: float
    until: int
    text: str

    @property
    def by(self) -> str:
        return f"By {self.author}, after {duration(self.at)}, up to question {self.until}"
