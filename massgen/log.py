"""The append-only log of a session."""

from typing import Protocol

from massgen.events import Recorded
from massgen.messages import Chunk


class Sink(Protocol):
    """Something that follows a run: a display, an export, metrics. It only reads; one that raises is dropped and noted."""

    def fact(self, recorded: Recorded) -> None:
        """A fact was recorded."""
        ...

    def delta(self, agent: str, chunk: Chunk) -> None:
        """A piece of an agent's current model call arrived; it is shown now or never."""
        ...
