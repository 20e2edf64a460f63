"""What is shown of one agent, beside its seat in the run's state."""

from dataclasses import dataclass, field

from massgen.events import Failure, ToolCalled, ToolReturned
from massgen.figures import Use
from massgen.messages import Waiting
from massgen.streams import KEEP, Delta, Stream, line, safe

MAX_TOOL = 60
"""Characters of a tool's name."""


@dataclass(slots=True)
class Lane:
    """An agent's work, as it is followed."""

    model: str
    text: str = ""
    """What it streams, or how its turn ended: its answer, its reason for the vote, the cause of the failure."""
    settled: bool = True
    """Whether `text` is the latter."""
    began: float = 0
    took: float | None = None
    """How long its last turn lasted; None during a turn."""
    turn_tokens: int = 0
    """Output tokens of its last turn."""
    retry_at: float = 0
    waits: Waiting | None = None
    """What its call waits for now."""
    note: str = ""
    """The cause of the retry or of the failure."""
    failure: Failure = "error"
    using: dict[str, str] = field(default_factory=dict[str, str])
    """The tools in use, by the ids of their calls."""
    since: float = 0
    """When it began to use them."""
    used: str = ""
    """The tool that returned last."""
    in_vain: bool = False
    """Whether that failed, and the model has not said anything since."""
    use: Use = field(default_factory=Use)
    _stream: Stream = field(default_factory=Stream)

    def begin(self, at: float) -> None:
        self.text, self.settled, self.note = "", False, ""
        self.began, self.took, self.turn_tokens, self.retry_at = at, None, 0, 0
        self._stream, self.waits, self.using, self.used, self.in_vain = Stream(), None, {}, "", False

    def settle(self, text: str, at: float) -> None:
        self.text, self.settled, self.took, self.retry_at = safe(text[:KEEP])[:KEEP], True, at - self.began, 0

    def go_on(self, gap: float, at: float, *, at_work: bool) -> None:
        """The run goes on after `gap` seconds in which nothing happened; `at_work`: with the turn that was open."""
        self.began, self.since, self.retry_at, self.waits = self.began + gap, at, 0, None
        if at_work:
            self.text, self.settled, self.took, self.note, self._stream = "", False, None, "", Stream()
        elif not self.settled:
            self.settle(self.text, at)

    def tool(self, fact: ToolCalled | ToolReturned, at: float) -> None:
        match fact:
            case ToolCalled(_, _, call, name):
                self.since = self.since if self.using else at
                self.using[call] = line(name, MAX_TOOL)
            case ToolReturned(_, _, call):
                self.used, self.in_vain = self.using.pop(call, "a tool"), fact.is_error

    def hear(self, chunk: Delta) -> None:
        self.retry_at = 0
        self._stream.hear(chunk)
        self.text = self._stream.text
