"""OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat), also as Azure serves them.

It stands for every compatible server too, and those take settings OpenAI has not: unknown ones pass.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tests.providers.policy import Act, Call, Fault, Limits, Reply
from tests.providers.wires import Asked, Json, Refused, Wire, bearer, event, identity, need, pieces

ROLES = ("system", "assistant", "user", "function", "tool", "developer")


def parse(asked: Asked) -> Call:
    body = asked.body
    need(model := asked.model or body.get("model"), "you must provide a model parameter")
    need("messages" in body, "Missing required parameter: 'messages'.")
    need(body["messages"], "Invalid 'messages': empty array. Expected an array with minimum length 1.")
    need(body.get("tools") != [], "Invalid 'tools': empty array. Expected an array with minimum length 1.")
    options, stream = body.get("stream_options"), bool(body.get("stream"))
    need(stream or not options, "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    need(body.get("tools") or not body.get("tool_choice"), "'tool_choice' is only allowed when 'tools' are specified.")
    _check(body["messages"])
    functions = [tool["function"] for tool in body.get("tools") or ()]
    return Call(
        model=model,
        key=asked.key,
        messages=tuple(body["messages"]),
        tools={function["name"]: function.get("parameters", {}) for function in functions},
        schema=_schema((body.get("response_format") or {}).get("json_schema") or {}),
        stream=stream,
        include_usage=bool((options or {}).get("include_usage")),
    )


def _schema(form: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A strict one is an object: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas"""
    schema: Mapping[str, Any] | None = form.get("schema")
    kind = schema and schema.get("type")
    need(kind == "object" or not form.get("strict"), NO_OBJECT.format(form.get("name"), kind))
    return schema


NO_OBJECT = (
    "Invalid schema for response_format '{}': schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{}\"'."
)


def _check(messages: list[Mapping[str, Any]]) -> None:
    """Roles, and that every tool call is answered by the messages right after it."""
    due: list[str] = []
    for index, message in enumerate(messages):
        role = message["role"]
        supported = ", ".join(f"'{name}'" for name in ROLES)
        need(role in ROLES, f"Invalid value: '{role}'. Supported values are: {supported}.")
        if role == "tool":
            need(message["tool_call_id"] in due, _STRAY)
            due.remove(message["tool_call_id"])
            continue
        need(not due, f"{_UNANSWERED}{', '.join(due)}")
        due = [call["id"] for call in message.get("tool_calls") or ()]
        need(due or message["content"] is not None, _NO_CONTENT.format(index))
    need(not due, f"{_UNANSWERED}{', '.join(due)}")


_STRAY = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."  # their spelling
_UNANSWERED = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
    "The following tool_call_ids did not have response messages: "
)
_NO_CONTENT = "Invalid value for 'content': expected a string, got null. (messages.[{}].content)"


def document(model: str, reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": reply.text or None}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if reply.acts:
        message["tool_calls"] = [_act(index, act, act.arguments) for index, act in enumerate(reply.acts)]
    if cited := _annotations(reply):
        message["annotations"] = cited
    choice = {"index": 0, "message": message, "finish_reason": reply.finished}
    return {**_head(model, "chat.completion"), "choices": [choice], "usage": _usage(reply)}


def events(model: str, include_usage: bool, reply: Reply) -> Iterator[bytes]:
    head = _head(model, "chat.completion.chunk")
    for delta in _deltas(reply):
        yield event({**head, "choices": [{"index": 0, "delta": delta}]})
    yield event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reply.finished}]})
    if include_usage:
        yield event({**head, "choices": [], "usage": _usage(reply)})
    yield b"data: [DONE]\n\n"


def _deltas(reply: Reply) -> Iterator[Json]:
    if reply.reasoning:
        yield {"role": "assistant", "reasoning_content": reply.reasoning}
    for piece in pieces(reply.text, reply.chunks):
        yield {"content": piece}
    if cited := _annotations(reply):
        yield {"annotations": cited}
    for index, act in enumerate(reply.acts):
        yield {"tool_calls": [_act(index, act, "")]}
        for piece in pieces(act.arguments, reply.chunks):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _act(index: int, act: Act, arguments: str) -> Json:
    function = {"name": act.name, "arguments": arguments}
    return {"index": index, "id": identity(act, index, "call_"), "type": "function", "function": function}


def _annotations(reply: Reply) -> list[Json]:
    """All that this wire tells of a search by the provider: the pages."""
    urls = [tool.found for tool in reply.hosted if tool.kind == "web_search"]
    return [{"type": "url_citation", "url_citation": {"url": url, "title": url}} for url in urls]


def _head(model: str, kind: str) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": model}


def _usage(reply: Reply) -> Json:
    total = reply.input_tokens + reply.output_tokens
    counts = {"prompt_tokens": reply.input_tokens, "completion_tokens": reply.output_tokens, "total_tokens": total}
    return counts if reply.cost is None else {**counts, "cost": reply.cost}


def error(fault: Fault) -> Json:
    kind = "server_error" if fault.status >= 500 else "requests" if fault.status == 429 else "invalid_request_error"
    code = fault.code or None
    return {"error": {"message": fault.message, "type": kind, "param": None, "code": code}}


def headers(limits: Limits | None, retry_after: float | None) -> dict[str, str]:
    """https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers"""
    said = {"x-request-id": "req_1"}
    if retry_after is not None:
        said |= {"retry-after": f"{retry_after:g}", "retry-after-ms": f"{retry_after * 1000:g}"}
    if limits:
        for what, most, left in (
            ("requests", limits.requests, limits.requests_left),
            ("tokens", limits.tokens, limits.tokens_left),
        ):
            said |= {f"x-ratelimit-limit-{what}": str(most), f"x-ratelimit-remaining-{what}": str(left)}
            said[f"x-ratelimit-reset-{what}"] = f"{limits.reset:g}s"
    return said


def models(names: tuple[str, ...]) -> Json:
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in names]
    return {"object": "list", "data": listed}


WIRE = Wire(
    name="chat",
    key=bearer,
    no_key=Refused("Incorrect API key provided.", 401, "invalid_api_key"),
    needs_key=False,  # servers on this machine want none
    parse=parse,
    document=document,
    events=events,
    error=error,
    indent=4,
    broken=lambda fault: event(error(fault)),
    headers=headers,
    models=models,
)


def _azure_parse(asked: Asked) -> Call:
    if "api-version" not in asked.query:
        raise Refused("Resource not found", 404, "404")
    return parse(asked)


AZURE = replace(
    WIRE,
    name="azure",
    key=lambda headers, query: headers.get("api-key", "") or bearer(headers, query),
    no_key=Refused(
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
        "active subscription and use a correct regional API endpoint for your resource.",
        401,
        "401",
    ),
    needs_key=True,
    parse=_azure_parse,
    error=lambda fault: {"error": {"code": fault.code or str(fault.status), "message": fault.message}},
)
"""The model is in the path: https://learn.microsoft.com/azure/ai-services/openai/reference"""
