"""The wire format of OpenAI's Responses API, which xAI speaks too. No I/O.

The only one with OpenAI's own tools, and the only one in which its models from GPT-5.4 on both reason and call functions
(https://developers.openai.com/api/reference/resources/responses).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from massgen.backends import Request, Tool
from massgen.backends.wire import WireFormat, count, merged, sent_arguments, source_of
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
)


def responses_body(request: Request, model: str, options: Mapping[str, Any]) -> bytes:
    """The request's body: a streamed response that the provider does not keep."""
    items = [item for message in request.messages for item in _items(message)]
    body: dict[str, Any] = {"model": model, "input": items, "stream": True, "store": False}
    whole = merged({**body, "tools": _functions(request.tools)}, options)
    if request.schema is not None:
        shape = {"type": "json_schema", "name": "reply", "schema": request.schema, "strict": True}
        whole["text"] = {**whole.get("text", {}), "format": shape}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _functions(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    # Not strict, as in chat completions: here that would be the default, and demand that every property is required.
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": False,
        }
        for tool in tools
    ]


def _items(message: Message) -> Iterator[dict[str, Any]]:
    content = [_content(part) for part in message.parts if isinstance(part, Text | Media)]
    if any(isinstance(part, Media) for part in message.parts):
        yield {"role": message.role, "content": content}
    elif content:
        yield {"role": message.role, "content": message.text}
    for part in message.parts:
        match part:
            case ToolCall(call_id, name):
                arguments = sent_arguments(part)
                yield {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
            case ToolResult(call_id, output):
                yield {"type": "function_call_output", "call_id": call_id, "output": output}
            case Text() | Media():
                pass


def _content(part: Text | Media) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "input_text", "text": text}
        case Media(kind="image"):
            return {"type": "input_image", "image_url": source_of(part)}
        case Media(url=url) if url:
            return {"type": "input_file", "file_url": url}
        case Media():
            return {"type": "input_file", "filename": part.name or "file", "file_data": source_of(part)}


_STATUS = {"rate_limit_exceeded": 429, "invalid_prompt": 400}
"""What an error code inside a stream would have been as a status; any other is the server's own fault."""
_LIMITS = {"max_output_tokens": "length"}
"""Why a response is incomplete, in the words of chat completions."""


@dataclass(slots=True)
class ResponseDecoder:
    """Turns the events of one response, in order, into chunks. What the provider's own tools do is passed over."""

    finish: str = ""
    usage: Usage | None = None
    _calls: dict[int, int] = field(default_factory=dict[int, int])
    """Place of a function call in the response's output -> our number of it."""
    _sent: dict[int, int] = field(default_factory=dict[int, int])
    """Our number of a call -> how many characters of its arguments have been passed on."""

    def error(self, event: Mapping[str, Any]) -> Any:
        """The error that `event` reports, its `code` as a status; None if it reports none."""
        match event:
            case {"type": "error", "message": message, **rest} | {"response": {"error": {"message": message, **rest}}}:
                return {"message": message, "code": _STATUS.get(str(rest.get("code")), 500)}
            case _:
                return event.get("error")

    def chunks(self, event: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunks of one event, or of a whole response from a server that does not stream."""
        match event:
            case {"type": "response.output_text.delta" | "response.refusal.delta", "delta": str(text)}:
                yield TextDelta(text)
            case {
                "type": "response.reasoning_summary_text.delta" | "response.reasoning_text.delta",
                "delta": str(text),
            }:
                yield ReasoningDelta(text)
            case {"type": "response.reasoning_summary_part.added", "summary_index": int(part)} if part:
                yield ReasoningDelta("\n\n")
            case {"type": "response.completed" | "response.incomplete", "response": {**response}}:
                self._end(response)
            case {"output": [*items], **response} if "type" not in event:
                yield from self._document(items)
                self._end(response)
            case _:
                yield from self._call(event)

    def end(self) -> Iterator[Chunk]:
        if self.usage:
            yield self.usage
        yield Finish(self.finish or "stop")

    def _call(self, event: Mapping[str, Any]) -> Iterator[Chunk]:
        """A function call begins, goes on, or is there: xAI sends it whole, OpenAI in pieces and then whole."""
        match event:
            case {
                "type": "response.output_item.added" | "response.output_item.done",
                "output_index": int(place),
                "item": {"type": "function_call", "name": str(name), "call_id": str(call_id), **item},
            }:
                if place not in self._calls:
                    self._calls[place] = len(self._calls)
                    yield ToolCallDelta(self._calls[place], call_id, name)
                number = self._calls[place]
                yield from self._arguments(number, str(item.get("arguments") or "")[self._sent.get(number, 0) :])
            case {"type": "response.function_call_arguments.delta", "output_index": int(place), "delta": str(piece)}:
                if place in self._calls:
                    yield from self._arguments(self._calls[place], piece)
            case _:
                pass

    def _arguments(self, number: int, piece: str) -> Iterator[Chunk]:
        if piece:
            self._sent[number] = self._sent.get(number, 0) + len(piece)
            yield ToolCallDelta(number, arguments=piece)

    def _document(self, items: Sequence[Any]) -> Iterator[Chunk]:
        for place, item in enumerate(items):
            match item:
                case {"type": "message", "content": [*parts]}:
                    for part in parts:
                        yield from self.chunks({"type": "response.output_text.delta", "delta": part.get("text")})
                case _:
                    yield from self._call({"type": "response.output_item.done", "output_index": place, "item": item})

    def _end(self, response: Mapping[str, Any]) -> None:
        match response:
            case {"usage": {"input_tokens": given, "output_tokens": made}}:
                self.usage = Usage(count(given), count(made))
            case _:
                pass
        match response:
            case {"incomplete_details": {"reason": str(reason)}}:
                self.finish = _LIMITS.get(reason, reason)
            case _:
                self.finish = "tool_calls" if self._calls else "stop"


RESPONSES = WireFormat("responses", "output", responses_body, ResponseDecoder)
