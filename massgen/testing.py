"""Stand-ins for models, for tests of agents, configurations and plug-ins. They meet the same contract as real backends."""

import json
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from massgen.backends import Backend, Request
from massgen.errors import BackendError
from massgen.messages import Chunk, Finish, Reply, TextDelta, ToolCallDelta, Usage, user

Scripted: TypeAlias = Iterable[Chunk] | Exception


def says(text: str) -> list[Chunk]:
    """A reply of plain text."""
    return [TextDelta(text), Usage(10, max(1, len(text) // 4)), Finish("stop")]


def calls(name: str, **arguments: object) -> list[Chunk]:
    """A reply that calls the tool `name`."""
    return [ToolCallDelta(0, f"call_{name}", name, json.dumps(arguments)), Usage(10, 5), Finish("tool_calls")]


@dataclass(slots=True)
class ScriptedBackend:
    """Replies in the order of `script`, or with what the function `script` makes of each request."""

    script: list[Scripted] | Callable[[Request], Scripted]
    model: str = "scripted"
    requests: list[Request] = field(default_factory=list[Request])

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        self.requests.append(request)
        for chunk in self._next(request):
            yield chunk

    def _next(self, request: Request) -> Iterable[Chunk]:
        if callable(self.script):
            reply = self.script(request)
        elif self.script:
            reply = self.script.pop(0)
        else:
            raise BackendError(f"the script of {self.model} holds no reply {len(self.requests)}")
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def aclose(self) -> None:
        """Nothing is held."""


async def check_backend(backend: Backend) -> None:
    """Assert the contract of `Backend` with one real call: chunks that merge into a message, `Finish` last, and a
    harmless second close."""
    reply, last = Reply(), None
    async for chunk in backend.stream(Request([user("Say hello.")])):
        reply.add(chunk)
        last = chunk
    assert isinstance(last, Finish), f"the reply ended with {last!r}, not with Finish"
    assert reply.message.parts, "the reply was empty"
    assert backend.model, "the backend has no model name"
    await backend.aclose()
    await backend.aclose()
