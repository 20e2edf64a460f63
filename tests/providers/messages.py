"""Anthropic's Messages (https://docs.anthropic.com/en/api/messages): what the API refuses is refused in its words."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.providers.policy import Call, Fault, Hosted, Limits, Reply
from tests.providers.wires import Asked, Json, Refused, Wire, bearer, event, identity, names, need, pieces, unknown

FIELDS = names(
    "cache_control container diagnostics inference_geo max_tokens messages metadata model output_config service_tier speed "
    "stop_sequences stream system temperature thinking tool_choice tools top_k top_p user_profile_id workspace_id"
)
"""Every other field of a request is refused."""

_BUILT_IN = re.compile(
    r"(web_search|web_fetch|code_execution|bash|text_editor|memory|computer|tool_search_tool_\w+)_\d{8}"
)
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def parse(asked: Asked) -> Call:
    body = asked.body
    need("anthropic-version" in asked.headers, "anthropic-version: header is required")
    for name in ("model", "max_tokens", "messages"):
        need(name in body, f"{name}: Field required")
    before = {"output_format"} if "structured-outputs-" in asked.headers.get("anthropic-beta", "") else set()
    need(not (extra := unknown(body, FIELDS | before)), f"{extra}: Extra inputs are not permitted")
    need(body["max_tokens"] >= 1, "max_tokens: Input should be greater than or equal to 1")
    _check_settings(body)
    tools = list(_tools(body.get("tools") or ()))
    _check_messages(body["messages"], bool(tools))
    first = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    return Call(
        model=body["model"],
        key=asked.key,
        messages=(*first, *body["messages"]),
        tools={tool["name"]: tool["input_schema"] for tool in tools if "input_schema" in tool},
        schema=_schema(body),
        stream=bool(body.get("stream")),
        include_usage=True,
        hosted=tuple(tool["type"] for tool in tools if "input_schema" not in tool),
    )


_MODERN = re.compile(r"claude-(opus-4-[7-9]|[a-z]+-[5-9])")
"""Models without sampling settings, which decide themselves how much they think."""


def _check_settings(body: Mapping[str, Any]) -> None:
    modern = _MODERN.match(body["model"])
    set_ = [
        name for name in ("temperature", "top_p", "top_k") if name in body and (name, body[name]) != ("temperature", 1)
    ]
    need(0 <= body.get("temperature", 1) <= 1, "temperature: range: 0..1")
    need(not (modern and set_), f"`{''.join(set_[:1])}` is deprecated for this model.")
    need("temperature" not in body or "top_p" not in body, _EITHER)
    need(body.get("tools") or "tool_choice" not in body, "tool_choice: may only be specified while providing tools")
    schema = _schema(body) or {}
    need(schema.get("type") != "object" or schema.get("additionalProperties") is False, _OPEN)
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled":
        need(not modern, _ADAPTIVE)
        _check_thinking(body, thinking["budget_tokens"])


def _check_thinking(body: Mapping[str, Any], budget: int) -> None:
    need(budget >= 1024, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    need(budget < body["max_tokens"], "`max_tokens` must be greater than `thinking.budget_tokens`.")
    need(body.get("temperature", 1) == 1, "`temperature` may only be set to 1 when thinking is enabled.")
    forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    need(not forced, "Thinking may not be enabled when tool_choice forces tool use.")


_EITHER = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
_OPEN = "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
_ADAPTIVE = (
    '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to '
    "control thinking behavior."
)


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Of the reply's form: a setting of the output, or, while that was in beta, a field of its own."""
    output = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return output.get("schema")


def _tools(tools: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    names: set[str] = set()
    for index, tool in enumerate(tools):
        kind, name = tool.get("type") or "custom", tool.get("name", "")
        need(kind == "custom" or _BUILT_IN.fullmatch(kind), f"tools.{index}: Input tag '{kind}' {_TAGS}")
        need(
            _TOOL_NAME.fullmatch(name), f"tools.{index}.{kind}.name: String should match pattern '{_TOOL_NAME.pattern}'"
        )
        need(name not in names, "tools: Tool names must be unique.")
        names.add(name)
        if kind == "custom":
            need("input_schema" in tool, f"tools.{index}.custom.input_schema: Field required")
            need(
                tool["input_schema"].get("type") == "object", f"tools.{index}.custom.input_schema.type: Field required"
            )
        yield tool


_TAGS = "found using 'type' does not match any of the expected tags"


def _check_messages(messages: list[Mapping[str, Any]], tools: bool) -> None:
    need(messages, "messages: at least one message is required")
    due: list[str] = []
    for index, message in enumerate(messages):
        role, blocks = message["role"], _blocks_of(message["content"])
        need(role != "system", _NO_SYSTEM)
        need(role in ("user", "assistant"), f"messages.{index}.role: Input should be 'user' or 'assistant'")
        need(index or role == "user", 'messages: first message must use the "user" role')
        last = index == len(messages) - 1 and role == "assistant"
        need(blocks or last, f"messages.{index}: {_EMPTY}")
        empty = any(block["type"] == "text" and not block["text"] for block in blocks)
        need(not empty, "messages: text content blocks must be non-empty")
        _check_results(index, blocks, due)
        due = [block["id"] for block in blocks if block["type"] == "tool_use"]
        need(tools or not due, "Requests which include `tool_use` or `tool_result` blocks must define tools")
    need(not due, _UNANSWERED.format(len(messages) - 1, ", ".join(due)))


def _check_results(index: int, blocks: list[Mapping[str, Any]], due: list[str]) -> None:
    given = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    for name in given:
        need(name in due, _STRAY.format(index, name))
    missing = [name for name in due if name not in given]
    need(not missing, _UNANSWERED.format(index - 1, ", ".join(missing)))


def _blocks_of(content: str | list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


_NO_SYSTEM = (
    'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as an '
    "input message role."
)
_EMPTY = "all messages must have non-empty content except for the optional final assistant message"
_STRAY = (
    "messages.{}.content: unexpected `tool_use_id` found in `tool_result` blocks: {}. Each `tool_result` block must have "
    "a corresponding `tool_use` block in the previous message."
)
_UNANSWERED = (
    "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block "
    "must have a corresponding `tool_result` block in the next message."
)


def document(model: str, reply: Reply) -> Json:
    return {**_message(model, reply), "content": list(_content(reply)), "stop_reason": _stop(reply)}


def _message(model: str, reply: Reply) -> Json:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
    return {**head, "stop_reason": None, "stop_sequence": None, "usage": _usage(reply)}


def _content(reply: Reply) -> Iterator[Json]:
    """The blocks of the reply, each whole."""
    if reply.reasoning:
        yield {"type": "thinking", "thinking": reply.reasoning, "signature": "c2lnbmVk"}
    for index, tool in enumerate(reply.hosted):
        yield from _hosted(f"srvtoolu_{index}", tool)
    if reply.text:
        yield {"type": "text", "text": reply.text}
    for index, act in enumerate(reply.acts):
        arguments = json.loads(act.arguments or "{}")
        yield {"type": "tool_use", "id": identity(act, index, "toolu_"), "name": act.name, "input": arguments}


def _hosted(name: str, tool: Hosted) -> Iterator[Json]:
    used = {"type": "server_tool_use", "id": name}
    if tool.kind == "web_search":
        yield {**used, "name": "web_search", "input": {"query": tool.asked}}
        page = {"type": "web_search_result", "url": tool.found, "title": tool.found, "encrypted_content": "cGFnZQ=="}
        pages = [{**page, "page_age": None}]
        yield {"type": "web_search_tool_result", "tool_use_id": name, "content": pages}
    else:
        yield {**used, "name": "code_execution", "input": {"code": tool.asked}}
        ran = {"type": "code_execution_result", "stdout": tool.found, "stderr": "", "return_code": 0, "content": []}
        yield {"type": "code_execution_tool_result", "tool_use_id": name, "content": ran}


def events(model: str, _: bool, reply: Reply) -> Iterator[bytes]:
    begun = _message(model, reply)
    begun["usage"]["output_tokens"] = 1
    yield _event({"type": "message_start", "message": begun})
    yield _event({"type": "ping"})
    for index, block in enumerate(_content(reply)):
        empty, deltas = _streamed(block, reply.chunks)
        yield _event({"type": "content_block_start", "index": index, "content_block": empty})
        for delta in deltas:
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": _stop(reply), "stop_sequence": None}
    yield _event({"type": "message_delta", "delta": ended, "usage": _usage(reply)})
    yield _event({"type": "message_stop"})


def _streamed(block: Json, chunks: int) -> tuple[Json, list[Json]]:
    """How a block begins, and what is added to it."""
    match block:
        case {"type": "text", "text": text}:
            return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(text, chunks)]
        case {"type": "thinking", "thinking": text, "signature": signature}:
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(text, chunks)]
            return {**block, "thinking": "", "signature": ""}, [
                *deltas,
                {"type": "signature_delta", "signature": signature},
            ]
        case {"input": arguments}:
            parts = ["", *pieces(json.dumps(arguments), chunks)]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
        case _:
            return block, []


def _event(data: Mapping[str, Any]) -> bytes:
    return event(data, named=True)


def _stop(reply: Reply) -> str:
    words = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
    return words.get(reply.finished, reply.finished)


def _usage(reply: Reply) -> Json:
    cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    searches = sum(tool.kind == "web_search" for tool in reply.hosted)
    used = {"server_tool_use": {"web_search_requests": searches, "web_fetch_requests": 0}} if reply.hosted else {}
    return {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens, **cached, **used}


_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""https://docs.anthropic.com/en/api/errors"""


def error(fault: Fault) -> Json:
    kind = fault.code or _ERRORS.get(fault.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": fault.message}, "request_id": "req_1"}


def headers(limits: Limits | None, retry_after: float | None) -> dict[str, str]:
    """https://docs.anthropic.com/en/api/rate-limits#response-headers"""
    said = {"request-id": "req_1"}
    if retry_after is not None:
        said["retry-after"] = f"{retry_after:g}"
    if limits:
        whole = (datetime.now(UTC) + timedelta(seconds=limits.reset)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for what, most, left in (
            ("requests", limits.requests, limits.requests_left),
            ("tokens", limits.tokens, limits.tokens_left),
            ("input-tokens", limits.tokens, limits.tokens_left),
            ("output-tokens", limits.tokens, limits.tokens_left),
        ):
            values = {"limit": most, "remaining": left, "reset": whole}
            said |= {f"anthropic-ratelimit-{what}-{name}": str(value) for name, value in values.items()}
    return said


def models(names: tuple[str, ...]) -> Json:
    since = "2026-01-01T00:00:00Z"
    listed = [{"type": "model", "id": name, "display_name": name, "created_at": since} for name in names]
    return {"data": listed, "has_more": False, "first_id": names[0], "last_id": names[-1]}


WIRE = Wire(
    name="messages",
    key=lambda headers, query: headers.get("x-api-key", "") or bearer(headers, query),
    no_key=Refused("invalid x-api-key", 401),
    parse=parse,
    document=document,
    events=events,
    error=error,
    broken=lambda fault: _event(error(fault)),
    headers=headers,
    models=models,
)
