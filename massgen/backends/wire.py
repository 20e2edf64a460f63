"""The wire format of chat completions: messages and tools to JSON, and the events of a reply to chunks. No I/O.

The format is OpenAI's (https://platform.openai.com/docs/api-reference/chat); the other servers' deviations that are
accepted are named where they are handled.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeGuard

from massgen.backends import Request, Tool
from massgen.backends.sse import is_object
from massgen.messages import (
    Chunk,
    Finish,
    Media,
    Message,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    parse_arguments,
)


class Decoding(Protocol):
    """Reads one reply, event by event."""

    @property
    def finish(self) -> str:
        """Why the reply ended; empty while it has not."""
        ...

    def error(self, event: Mapping[str, Any]) -> Any: ...
    def chunks(self, event: Mapping[str, Any]) -> Iterator[Chunk]: ...
    def end(self) -> Iterator[Chunk]: ...


@dataclass(frozen=True, slots=True)
class WireFormat:
    """A wire format: the `path` it is spoken at, what a whole reply `holds`, how requests are written and replies read."""

    path: str
    holds: str
    body: Callable[[Request, str, Mapping[str, Any]], bytes]
    decoder: Callable[[], Decoding]


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of all `layers`, the later ones before the earlier; only their `tools` add up."""
    tools = [tool for layer in layers for tool in _objects(layer.get("tools"))]
    whole = {name: value for layer in layers for name, value in layer.items() if name != "tools"}
    return {**whole, "tools": tools} if tools else whole


@dataclass(slots=True)
class Offered:
    """Tells our tools' calls from those of the provider's own, which some report though they ran them themselves."""

    names: frozenset[str] | None
    """Of our tools; None where the provider was given none of its own, so that a call of any name was meant for us."""
    _foreign: set[int] = field(default_factory=set[int])

    def keeps(self, chunk: Chunk) -> bool:
        if not isinstance(chunk, ToolCallDelta):
            return True
        unknown = self.names is not None and chunk.name and chunk.name not in self.names
        if unknown or chunk.id.startswith(_HOSTED_ID):
            self._foreign.add(chunk.index)
        return chunk.index not in self._foreign


_HOSTED_ID = "srvtoolu_"
"""How Anthropic numbers the calls of its own tools, also of those that other settings than `tools` bring along."""


def wire_body(request: Request, model: str, options: Mapping[str, Any]) -> bytes:
    """The request's body: a streamed completion with its usage. `options` are merged in; they win."""
    body: dict[str, Any] = {
        "model": model,
        "messages": wire_messages(request.messages),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = wire_tools(request.tools)
    if request.schema is not None:
        schema = {"name": "reply", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    # "replace": half a surrogate pair, which JSON can carry and UTF-8 cannot, must not stop the call.
    return json.dumps(merged(body, options), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def wire_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """`tools` as the field of that name."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


def wire_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """`messages` as the field of that name; every tool result becomes a message of its own."""
    return [wired for message in messages for wired in _message(message)]


def _message(message: Message) -> Iterator[dict[str, Any]]:
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    for result in results:
        yield {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
    if results:
        return
    content = _content(message)
    if calls := [_call(call) for call in message.tool_calls]:
        # Without text its content is null: servers' templates know that case, not an empty text.
        yield {"role": message.role, "content": content or None, "tool_calls": calls}
    else:
        yield {"role": message.role, "content": content}


def _content(message: Message) -> str | list[dict[str, Any]]:
    """Plain text as a string, which every server takes; parts only where there is more than text."""
    if not any(isinstance(part, Media) for part in message.parts):
        return message.text
    return [_part(part) for part in message.parts if isinstance(part, (Text, Media))]


def _part(part: Text | Media) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    url = source_of(part)
    match part.kind:
        case "image" | "video":
            return {"type": f"{part.kind}_url", f"{part.kind}_url": {"url": url}}
        case "audio" if part.data:
            kind = part.mime.rpartition("/")[2].removeprefix("x-")
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": _SOUNDS.get(kind, kind)}}
        case "audio":
            return {"type": "audio_url", "audio_url": {"url": url}}
        case "file":
            return {"type": "file", "file": {"filename": part.name or "file", "file_data": url}}


def source_of(media: Media) -> str:
    """Its address; one that holds the data itself where it has no other."""
    return media.url or f"data:{media.mime};base64,{media.data}"


_SOUNDS = {"mpeg": "mp3", "mp4": "m4a", "wave": "wav"}
"""Subtypes of audio that are not the format's name."""


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": sent_arguments(call)}}


def sent_arguments(call: ToolCall) -> str:
    """The arguments as written, or wrapped into JSON where they are none: servers refuse a history that is not JSON."""
    try:
        parse_arguments(call)
    except ValueError:
        return json.dumps({"malformed": call.arguments})
    return call.arguments or "{}"


@dataclass(slots=True)
class Decoder:
    """Turns the events of one reply, in order, into chunks; `end()` gives what is known only then."""

    finish: str = ""
    usage: Usage | None = None
    _ids: list[str] = field(default_factory=list[str])
    _names: list[str] = field(default_factory=list[str])
    _slots: dict[int, int] = field(default_factory=dict[int, int])
    """The server's number of a tool call -> ours, its place in the two lists."""

    def error(self, event: Mapping[str, Any]) -> Any:
        """The error object that `event` is or holds, if any."""
        return event.get("error")

    def chunks(self, event: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunks of one event, or of a whole document from a server that does not stream."""
        if usage := event.get("usage"):
            self.usage = _usage(usage)
        for choice in _objects(event.get("choices"))[:1]:
            delta = choice.get("delta") or choice.get("message")
            if is_object(delta):
                yield from self._delta(delta)
            self.finish = _text(choice.get("finish_reason")) or self.finish

    def end(self) -> Iterator[Chunk]:
        if self.usage:
            yield self.usage
        yield Finish(self.finish or "stop")

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Chunk]:
        if text := delta.get("content"):
            yield TextDelta(_text(text))
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            yield ReasoningDelta(_text(thought))
        if calls := delta.get("tool_calls"):
            for call in _objects(calls):
                yield self._tool_call(call)

    def _tool_call(self, call: Mapping[str, Any]) -> ToolCallDelta:
        given = call.get("function")
        function = given if is_object(given) else {}
        slot = self._slot(call.get("index"), _text(call.get("id")))
        name = _text(function.get("name"))
        if name == self._names[slot]:  # some servers repeat it in every piece
            name = ""
        self._names[slot] += name
        return ToolCallDelta(slot, self._ids[slot], name, _json_text(function.get("arguments")))

    def _slot(self, index: Any, call_id: str) -> int:
        """Which call of this reply is meant. Servers leave out `index`, `id` or both, or number every call 0."""
        slot = self._known(index, call_id)
        if slot is None or (call_id and self._ids[slot] not in ("", call_id)):
            slot = len(self._ids)
            self._ids.append("")
            self._names.append("")
        self._ids[slot] = self._ids[slot] or call_id
        if isinstance(index, int):
            self._slots[index] = slot
        return slot

    def _known(self, index: Any, call_id: str) -> int | None:
        if isinstance(index, int):
            return self._slots.get(index)
        if call_id in self._ids:
            return self._ids.index(call_id)
        return len(self._ids) - 1 if self._ids else None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if is_object(item)] if _is_list(value) else []


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _text(value: Any) -> str:
    """A text, or the texts of content parts (Mistral streams those); nothing else is one."""
    if isinstance(value, str):
        return value
    return "".join(_text(part.get("text")) for part in _objects(value))


def _json_text(value: Any) -> str:
    """Arguments are JSON text; some servers send the object itself."""
    return json.dumps(value, ensure_ascii=False) if is_object(value) else _text(value)


def _usage(value: Any) -> Usage | None:
    if not is_object(value):
        return None
    cost = value.get("cost")  # OpenRouter's
    return Usage(
        count(value.get("prompt_tokens")),
        count(value.get("completion_tokens")),
        float(cost) if isinstance(cost, (int, float)) and 0 <= cost < 1e9 else None,  # no NaN, which no log takes
    )


def count(value: Any) -> int:
    """A number of tokens; 0 for what is none."""
    return value if isinstance(value, int) and value > 0 else 0


CHAT = WireFormat("chat/completions", "choices", wire_body, Decoder)
