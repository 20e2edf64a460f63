"""What a transcript is made of. Texts are as the models wrote them: whoever shows them makes them safe.

`at`, here and below: seconds of running since the question.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from massgen.events import ToolCalled, ToolReturned
from massgen.figures import duration
from massgen.rosters import Change

MAX_TOLD = 500
"""Characters that an event tells of a tool's arguments, or of its result."""

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


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call of a tool; `result` is None where nothing came of it before the run ended."""

    agent: str
    at: float
    name: str
    arguments: str
    result: str | None = None
    is_error: bool = False
    seconds: float = 0.0


@dataclass(slots=True)
class ToolUses:
    """The calls of tools in their order, each with its result once that comes."""

    made: list[ToolUse] = field(default_factory=list[ToolUse])
    _open: dict[tuple[int, str], list[int]] = field(default_factory=dict[tuple[int, str], list[int]])
    """Places of those that have not returned, by turn and id, which models give more than once."""

    def add(self, fact: ToolCalled | ToolReturned, at: float) -> Event:
        """What happened. Raises `LookupError` for the result of a call that was not made."""
        if isinstance(fact, ToolCalled):
            self._open.setdefault((fact.turn, fact.call), []).append(len(self.made))
            self.made.append(ToolUse(fact.agent, at, fact.name, fact.arguments))
            return Event(at, fact.agent, f"used {fact.name}", fact.arguments[:MAX_TOLD])
        place = self._open[fact.turn, fact.call].pop(0)
        use = replace(self.made[place], result=fact.content, is_error=fact.is_error, seconds=fact.seconds)
        self.made[place] = use
        what = f"was told that {use.name} failed" if fact.is_error else f"was given the result of {use.name}"
        return Event(at, fact.agent, f"{what}, after {duration(fact.seconds)}", fact.content[:MAX_TOLD])
