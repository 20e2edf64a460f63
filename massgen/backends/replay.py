"""A recorded agent as a backend: its replies are given again, each to the request that it was given to. No network, no key.

Nothing is paid, so a reply costs 0; its tokens are those that were recorded. Rate limits do not apply.
"""

import asyncio
import difflib
import re
import textwrap
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from operator import eq
from typing import Any, TypeAlias

from massgen.backends import Request, Tool
from massgen.backends.conductor import NEVER, Conductor
from massgen.errors import BackendError
from massgen.events import Purpose
from massgen.messages import (
    Chunk,
    Finish,
    Message,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    Waiting,
    assistant,
    user,
)

DIFFERENCE_LINES = 20
DIFFERENCE_CHARACTERS = 1_200
"""What a difference may take of the 2,000 characters that are recorded of a failure."""
COMPARED_CALLS = 8
COMPARED_LINES = 1_000
"""How much is compared to find the recorded request that is closest; what is equal at the beginning is left out."""
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Replied:
    """The model said this."""

    message: Message
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The call failed; if it was tried again, after `delay` seconds."""

    cause: str
    transient: bool = False
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Scored:
    """The candidates were scored so. A recording holds which one was best; what stands here makes it so again."""

    scores: tuple[float, ...]


Outcome: TypeAlias = Replied | Failed | Scored


@dataclass(frozen=True, slots=True)
class Call:
    """A recorded model call, by the request that the code of today makes of its turn."""

    turn: int
    purpose: Purpose
    question: int
    """The `seq` of the question it belongs to."""
    request: Request
    place: int = NEVER
    """The `seq` of its outcome."""
    outcome: Outcome | None = None
    waits: tuple[tuple[int, Waiting], ...] = ()
    """The `seq` of each time that it waited for its provider's limits, and what is known of it."""
    ended: str = ""
    """Why there is no outcome."""
    timed: bool = False
    """Whether that was because time ran out."""


@dataclass(slots=True)
class Replayed:
    """The `agent` of the recording `where`, with all its `calls` in their order; `seat` is how the conductor knows it."""

    where: str
    agent: str
    model: str
    calls: Sequence[Call]
    conductor: Conductor
    seat: str
    _given: set[int] = field(default_factory=set[int])
    """Places among `calls` of those that were asked for."""

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        """The recorded reply, or failure. Raises `BackendError` also for a request that was not recorded."""
        for chunk in chunks(await self._outcome(request)):
            yield chunk

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _outcome(self, request: Request) -> Outcome:
        call = self._find(request)
        waits = [*call.waits]
        try:
            while waits:
                await self._reach(call, waits[0][0])
                request.waits(waits.pop(0)[1])
            reached = await self._reach(call, call.place)
        except asyncio.CancelledError:
            for _, wait in waits:  # a call tells how long it waited when it is cancelled, too
                request.waits(wait)
            raise
        if call.outcome is None or not reached:
            raise BackendError(
                f"the recording holds no reply to this request: {call.ended}",
                where=self._place(call),
                fix="This run takes another way than the recorded one did. Ask the model itself, or record it anew.",
            )
        return call.outcome

    async def _reach(self, call: Call, place: int) -> bool:
        return await self.conductor.reach(self.seat, place, question=call.question, timed=call.timed)

    def _find(self, request: Request) -> Call:
        """Of equal requests that were answered the first that was not asked for yet, else the last once more; else one that
        was not answered."""
        same = [(place, call) for place, call in enumerate(self.calls) if _same(call.request, request)]
        answered = [(place, call) for place, call in same if call.outcome]
        fresh = [each for each in (*answered, *same) if each[0] not in self._given]
        again = [each for each in answered if not (isinstance(each[1].outcome, Failed) and each[1].outcome.transient)]
        if not (chosen := fresh[:1] or again[-1:]):
            raise self._unknown(request)
        self._given.add(chosen[0][0])
        return chosen[0][1]

    def _place(self, call: Call) -> str:
        return f"{self.where}, {self.agent}, turn {call.turn} ({call.purpose})"

    def _unknown(self, request: Request) -> BackendError:
        left = [call for place, call in enumerate(self.calls) if place not in self._given] or self.calls
        kin = sorted(left, key=lambda call: _kinship(call.request, request), reverse=True)
        closest = max(kin[:COMPARED_CALLS], key=lambda call: _likeness(call.request, request), default=None)
        what = f"the recording knows no such request of {self.agent}"
        fix = (
            "A replay takes the question, configuration and prompts of its recording. Restore them, or record it anew."
        )
        if closest is None:
            return BackendError(f"{what}: it recorded none", where=self.where, fix=fix)
        difference = _difference(closest.request, request)
        return BackendError(
            f"{what}. The closest is different (-recorded +asked):\n{difference}", where=self._place(closest), fix=fix
        )


class ReplayedScorer(Replayed):
    """A recorded agent whose model scored answers."""

    async def score(self, question: str, candidates: Sequence[str]) -> Sequence[float]:
        """Raises `BackendError` for a failure that was recorded, and for candidates that were not."""
        return scores(await self._outcome(scoring(question, candidates)))


def scoring(question: str, candidates: Sequence[str]) -> Request:
    """The scoring of `candidates` as a request of its own kind."""
    return Request((user(question), *map(assistant, candidates)), schema={"title": "score"})


def chunks(outcome: Outcome) -> Iterator[Chunk]:
    """`outcome` as it streams. Raises `BackendError` if it is a failure."""
    match outcome:
        case Replied(message, taken, given):
            if message.text:
                yield TextDelta(message.text)
            for index, call in enumerate(message.tool_calls):
                yield ToolCallDelta(index, call.id, call.name, call.arguments)
            yield Usage(taken, given, 0.0)
            yield Finish("tool_calls" if message.tool_calls else "stop")
        case Failed(cause, transient, delay):
            raise BackendError(cause, transient=transient, retry_after=delay)
        case Scored():
            pass


def scores(outcome: Outcome) -> Sequence[float]:
    """Those of `outcome`. Raises `BackendError` if it is a failure."""
    return outcome.scores if isinstance(outcome, Scored) else [0.0 for _ in chunks(outcome)]


def _same(one: Request, other: Request) -> bool:
    return (*one.messages,) == (*other.messages,) and (*one.tools, one.schema) == (*other.tools, other.schema)


# --- a request for people ------------------------------------------------------------------------------------------


def _lines(request: Request) -> Iterator[str]:
    """A request as text, a sentence a line, so that a difference shows where it is."""
    for message in request.messages:
        yield f"[{message.role}]"
        for part in message.parts:
            yield from _part(part)
    for tool in request.tools:
        yield from _wrapped(f"[tool] {_signature(tool)}: {tool.description}")
    if request.schema is not None:
        yield from _wrapped(f"[schema] {request.schema}")


def _part(part: Any) -> Iterator[str]:
    match part:
        case Text(text):
            yield from _wrapped(text)
        case ToolCall(call, name, arguments):
            yield from _wrapped(f"calls {name} ({call}): {arguments}")
        case ToolResult(call, content):
            yield from _wrapped(f"result of {call}: {content}")
        case media:
            yield f"{media.kind} {media.mime} {media.name or media.url[:_WIDTH]}, {len(media.data):,} characters"


def _wrapped(text: str) -> Iterator[str]:
    for sentence in re.split(r"(?<=[.!?;]) |\n", text):
        yield from [sentence] if len(sentence) <= _WIDTH else textwrap.wrap(sentence, _WIDTH)  # that is slow


def _signature(tool: Tool) -> str:
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    allowed = {name: " | ".join(map(str, each.get("enum", ()))) for name, each in properties.items()}
    return f"{tool.name}({', '.join(f'{name}: {labels}' if labels else name for name, labels in allowed.items())})"


def _kinship(one: Request, other: Request) -> tuple[bool, int]:
    """Whether both offer the same tools, and how many messages they share at the beginning."""
    tools = [tool.name for tool in one.tools] == [tool.name for tool in other.tools]
    return tools, sum(1 for _ in takewhile(bool, map(eq, one.messages, other.messages)))


def _likeness(one: Request, other: Request) -> float:
    return difflib.SequenceMatcher(None, *_apart(one, other)).quick_ratio()  # the whole one is quadratic


def _apart(one: Request, other: Request) -> tuple[list[str], list[str]]:
    """The lines of both from the last that they share at the beginning, as far as is compared."""
    equal = sum(1 for _ in takewhile(bool, map(eq, _lines(one), _lines(other))))
    left, right = (islice(_lines(each), max(0, equal - 1), equal + COMPARED_LINES) for each in (one, other))
    return [*left], [*right]


def _difference(recorded: Request, asked: Request) -> str:
    """The first lines that differ, each with its neighbours, and how many more do."""
    compared = difflib.unified_diff(*_apart(recorded, asked), n=1, lineterm="")
    every = [line.rstrip() for line in compared if not line.startswith(("---", "+++", "@@"))]
    told, room = list[str](), DIFFERENCE_CHARACTERS
    for line in every[:DIFFERENCE_LINES]:
        room -= len(line) + 3
        if room < 0:
            break
        told.append(f"  {line}")
    more = len(every) - len(told)
    return "\n".join([*told, *([f"  and {more:,} more lines"] if more else [])] or ["  in no text, but in details"])
