"""The wire format of chat completions, from the server's side: bytes to a call, a reply to bytes."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from tests.providers.policy import Act, Call, Reply

PATH = "/chat/completions"


def parse(body: Mapping[str, Any], key: str) -> Call:
    """Raises `KeyError`, `TypeError` or `AttributeError` when `body` is not a chat completion request."""
    functions = [tool["function"] for tool in body.get("tools", ())]
    return Call(
        model=body["model"],
        key=key,
        messages=tuple(body["messages"]),
        tools={function["name"]: function.get("parameters", {}) for function in functions},
        schema=(body.get("response_format") or {}).get("json_schema", {}).get("schema"),
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": None}}).encode()


def models(names: tuple[str, ...]) -> bytes:
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in names]
    return json.dumps({"object": "list", "data": listed}).encode()


def document(asked: Call, reply: Reply) -> bytes:
    """The whole reply as one JSON document."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if reply.acts:
        message["tool_calls"] = [_act(index, act, act.arguments) for index, act in enumerate(reply.acts)]
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
    return json.dumps({**_head(asked.model, "chat.completion"), "choices": [choice], "usage": _usage(reply)}).encode()


@lru_cache(maxsize=64)
def events(model: str, include_usage: bool, reply: Reply) -> tuple[bytes, ...]:
    """The reply as server-sent events, the last one `[DONE]`. Cached: a benchmark asks for the same thing all day."""
    head = _head(model, "chat.completion.chunk")
    bodies = [{**head, "choices": [{"index": 0, "delta": delta}]} for delta in _deltas(reply)]
    bodies.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": _finish(reply)}]})
    if include_usage:
        bodies.append({**head, "choices": [], "usage": _usage(reply)})
    return (*(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies), b"data: [DONE]\n\n")


def _deltas(reply: Reply) -> Iterator[dict[str, Any]]:
    if reply.reasoning:
        yield {"role": "assistant", "reasoning_content": reply.reasoning}
    for piece in _pieces(reply.text, reply.chunks):
        yield {"content": piece}
    for index, act in enumerate(reply.acts):
        yield {"tool_calls": [_act(index, act, "")]}
        for piece in _pieces(act.arguments, reply.chunks):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _pieces(text: str, count: int) -> Iterator[str]:
    """`text` in `count` pieces that differ by at most one character in length; fewer where it is too short."""
    count = min(count, len(text))
    for index in range(count):
        yield text[index * len(text) // count : (index + 1) * len(text) // count]


def _act(index: int, act: Act, arguments: str) -> dict[str, Any]:
    function = {"name": act.name, "arguments": arguments}
    return {"index": index, "id": act.id or f"call_{index}", "type": "function", "function": function}


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": model}


def _finish(reply: Reply) -> str:
    return reply.finish or ("tool_calls" if reply.acts else "stop")


def _usage(reply: Reply) -> dict[str, Any]:
    total = reply.input_tokens + reply.output_tokens
    counts = {"prompt_tokens": reply.input_tokens, "completion_tokens": reply.output_tokens, "total_tokens": total}
    return counts if reply.cost is None else {**counts, "cost": reply.cost}
