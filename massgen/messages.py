"""Chat messages, their content parts, and the chunks a streamed reply arrives in. Every backend speaks these."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Media:
    """An image, sound, video or file: at a `url`, or as base64 `data`."""

    kind: Literal["image", "audio", "video", "file"]
    mime: str
    """Its media type, e.g. `image/png`."""
    url: str = ""
    data: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's request to run the tool `name`."""

    id: str
    name: str
    arguments: str
    """JSON text exactly as the model wrote it: it may be malformed."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool call `call_id` returned."""

    call_id: str
    content: str
    is_error: bool = False


Part: TypeAlias = Text | Media | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """Its text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


def system(text: str) -> Message:
    return Message("system", (Text(text),))


def user(text: str, media: tuple[Media, ...] = ()) -> Message:
    return Message("user", (Text(text), *media))


def assistant(text: str) -> Message:
    return Message("assistant", (Text(text),))


def tool_result(call: ToolCall, content: str, *, is_error: bool = False) -> Message:
    return Message("tool", (ToolResult(call.id, content, is_error),))


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the reply's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of the model's visible reasoning; shown, never sent back."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """The next piece of the tool call number `index` of this reply; `id` and `name` come once, `arguments` in pieces."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one model call used: tokens, and its cost in US dollars where the provider or a price list says so."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The reply ended: `stop`, `tool_calls`, `length`, `content_filter`, or the provider's own word."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call waits because `used` of `limit` is used: for `seconds`, so far as is known; once `over`, for that long.

    `dimension`: `rpm` and the like, `pacing`, `cooldown`, `hold`, or a quota as its provider names it."""

    dimension: str
    seconds: float
    used: float = 0.0
    limit: float = 0.0
    over: bool = False


Chunk: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | Usage | Finish | Waiting


@dataclass(slots=True)
class Reply:
    """Collects chunks into one assistant message."""

    usage: Usage = Usage()
    finish: str = ""
    _text: list[str] = field(default_factory=list[str])
    _calls: dict[int, list[ToolCallDelta]] = field(default_factory=dict[int, list[ToolCallDelta]])

    def add(self, chunk: Chunk) -> None:
        match chunk:
            case TextDelta(text):
                self._text.append(text)
            case ToolCallDelta(index):
                self._calls.setdefault(index, []).append(chunk)
            case Usage():
                self.usage = chunk
            case Finish(reason):
                self.finish = reason
            case _:
                pass  # reasoning and waits are shown, never sent back

    @property
    def message(self) -> Message:
        text = well_formed("".join(self._text))
        calls = (_merged(index, deltas) for index, deltas in sorted(self._calls.items()))
        return Message("assistant", (*([Text(text)] if text else ()), *calls))


def replied(message: Message) -> Reply:
    """`message` as a reply that has come in whole."""
    reply, calls = Reply(), 0
    for part in message.parts:
        match part:
            case Text(text):
                reply.add(TextDelta(text))
            case ToolCall(call, name, arguments):
                reply.add(ToolCallDelta(calls, call, name, arguments))
                calls += 1
            case _:
                pass
    return reply


def _merged(index: int, deltas: Iterable[ToolCallDelta]) -> ToolCall:
    pieces = list(deltas)
    return ToolCall(
        id=next((piece.id for piece in pieces if piece.id), f"call_{index}"),
        name="".join(piece.name for piece in pieces),
        arguments=well_formed("".join(piece.arguments for piece in pieces)),
    )


def well_formed(text: str) -> str:
    """`text` as any encoder takes it: surrogate pairs that came apart are joined, lone ones become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parse_arguments(call: ToolCall) -> dict[str, Any]:
    """The arguments of `call`; raises `ValueError` (with what to write instead) if they are not a JSON object."""
    try:
        value = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as error:  # not only JSONDecodeError: thousands of digits, or of brackets
        raise ValueError(f"the arguments of {call.name} are not valid JSON ({error}); send one JSON object") from None
    if not isinstance(value, dict):
        raise ValueError(f"the arguments of {call.name} must be a JSON object, not {type(value).__name__}")
    return cast("dict[str, Any]", value)
