"""What a model is to the rest of massgen: a `Backend` that streams the reply to a `Request` in chunks."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from massgen.messages import Chunk, Message, Waiting


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool the model may call; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One model call."""

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    schema: Mapping[str, Any] | None = None
    """A JSON Schema that the reply's text must follow (constrained decoding), where the server can."""
    accepted: Callable[[Mapping[str, str]], None] = field(default=lambda headers: None, compare=False)
    """Called with the response's headers, once they say that the call was accepted."""
    waits: Callable[[Waiting], None] = field(default=lambda wait: None, compare=False)
    """Called when the call has to wait for its provider's limits, and when it need not any longer."""


class Backend(Protocol):
    """A model behind some wire. Errors are `BackendError`; cancelling the iteration cancels the call."""

    @property
    def model(self) -> str:
        """The model's name, for people."""
        ...

    def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        """The reply in chunks, ending with `Usage` (where known) and `Finish`. One attempt; retrying is the caller's."""
        ...

    async def aclose(self) -> None:
        """Release what the backend holds. Harmless when called twice."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A backend that can say how likely it finds a given reply: a vote for models too small to argue one."""

    async def score(self, question: str, candidates: Sequence[str]) -> Sequence[float]:
        """The mean log-probability of each candidate's tokens as the reply to `question` (nearer 0 is likelier)."""
        ...
