"""OpenAI's Responses (https://platform.openai.com/docs/api-reference/responses), refusing what the API refuses."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tests.providers import chat
from tests.providers.policy import Call, Fault, Hosted, Reply
from tests.providers.wires import Asked, Json, Refused, Wire, bearer, event, identity, names, need, pieces, unknown

FIELDS = names(
    "background context_management conversation include input instructions max_output_tokens max_tool_calls metadata "
    "model moderation parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options "
    "prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options temperature text "
    "tool_choice tools top_logprobs top_p truncation user"
)
"""Every other field of a request is refused."""

HOSTED = names(
    "web_search web_search_2025_08_26 web_search_preview web_search_preview_2025_03_11 code_interpreter file_search "
    "image_generation mcp computer computer_use_preview local_shell shell apply_patch custom tool_search"
)
"""Types of tools beside `function`."""

_ROLES = ("assistant", "system", "developer", "user")


def parse(asked: Asked) -> Call:
    body = asked.body
    need(not (extra := unknown(body, FIELDS)), f"Unknown parameter: '{extra}'.")
    need(body.get("model"), "Missing required parameter: 'model'.")
    need(body.get("input"), "Missing required parameter: 'input'.")
    most = body.get("max_output_tokens")
    need(most is None or most >= 16, f"Invalid 'max_output_tokens': {_TOO_FEW} but got {most} instead.")
    if earlier := body.get("previous_response_id"):
        raise Refused(f"Previous response with id '{earlier}' not found.", 400, "previous_response_not_found")
    items = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
    _check_items(items)
    tools = list(body.get("tools") or ())
    _check_tools(tools)
    first = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    return Call(
        model=body["model"],
        key=asked.key,
        messages=(*first, *map(_message, items)),
        tools={tool["name"]: tool.get("parameters") or {} for tool in tools if tool["type"] == "function"},
        schema=_schema((body.get("text") or {}).get("format") or {}),
        stream=bool(body.get("stream")),
        include_usage=True,
        hosted=tuple(tool["type"] for tool in tools if tool["type"] != "function"),
    )


_TOO_FEW = "integer below minimum value. Expected a value >= 16,"


def _schema(form: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if form.get("type") != "json_schema":
        return None
    need(name := form.get("name"), "Missing required parameter: 'text.format.name'.")
    schema = form["schema"]
    need(schema.get("type") == "object", chat.NO_OBJECT.format(name, schema.get("type")))
    closed = schema.get("additionalProperties") is False
    need(closed or not form.get("strict"), f"Invalid schema for response_format '{name}': {_OPEN}")
    return schema


_OPEN = "In context=(), 'additionalProperties' is required to be supplied and to be false."


def _check_tools(tools: list[Mapping[str, Any]]) -> None:
    for index, tool in enumerate(tools):
        kind = tool.get("type")
        need(kind, f"Missing required parameter: 'tools[{index}].type'.")
        need(kind == "function" or kind in HOSTED, f"Invalid value: '{kind}'. Supported values are: 'function', ...")
        need(kind != "function" or tool.get("name"), f"Missing required parameter: 'tools[{index}].name'.")
        need(kind != "code_interpreter" or tool.get("container"), _NO_CONTAINER.format(index))
        schema = tool.get("parameters") or {}
        closed = schema.get("additionalProperties") is False
        need(closed or not tool.get("strict"), f"Invalid schema for function '{tool.get('name')}': {_OPEN}")


_NO_CONTAINER = "Missing required parameter: 'tools[{}].container'."


def _check_items(items: list[Mapping[str, Any]]) -> None:
    """Roles and parts, and that calls and their outputs are paired."""
    calls: list[str] = []
    for index, item in enumerate(items):
        match item.get("type", "message"):
            case "message":
                _check_message(index, item)
            case "function_call":
                calls.append(item["call_id"])
                json.dumps([item["name"], item["arguments"]])
            case "function_call_output":
                name = item["call_id"]
                need(name in calls, f"No tool call found for function call output with call_id {name}.")
                calls.remove(name)
            case _:
                pass
    need(not calls, f"No tool output found for function call {', '.join(calls)}.")


def _check_message(index: int, item: Mapping[str, Any]) -> None:
    role, content = item["role"], item["content"]
    supported = ", ".join(f"'{name}'" for name in _ROLES)
    need(role in _ROLES, f"Invalid value: '{role}'. Supported values are: {supported}.")
    kinds = _OUTPUT if role == "assistant" else _INPUT
    for part in content if isinstance(content, list) else ():
        known = " and ".join(f"'{kind}'" for kind in kinds)
        need(part["type"] in kinds, f"Invalid value: '{part['type']}'. Supported values are: {known}. (input[{index}])")


_INPUT, _OUTPUT = ("input_text", "input_image", "input_file", "input_audio"), ("output_text", "refusal")


def _message(item: Mapping[str, Any]) -> Mapping[str, Any]:
    roles = {"function_call": "assistant", "reasoning": "assistant", "function_call_output": "tool"}
    return {"role": roles.get(item.get("type", ""), "assistant"), "content": "", **item}


def document(model: str, reply: Reply) -> Json:
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reply.finished)
    status = {"status": "incomplete", "incomplete_details": {"reason": cut}} if cut else {"status": "completed"}
    return {**_response(model), **status, "output": [*_items(reply)], "usage": _usage(reply)}


def _response(model: str) -> Json:
    fixed = {"object": "response", "created_at": 0, "error": None, "incomplete_details": None, "instructions": None}
    asked = {"parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0}
    return {"id": "resp_1", **fixed, **asked, "model": model, "status": "in_progress", "output": [], "usage": None}


def _items(reply: Reply) -> Iterator[Json]:
    """The items of the output, each whole."""
    if reply.reasoning:
        yield {"type": "reasoning", "id": "rs_0", "summary": [{"type": "summary_text", "text": reply.reasoning}]}
    for index, tool in enumerate(reply.hosted):
        yield _hosted(index, tool)
    if reply.text or not reply.acts:
        part = {"type": "output_text", "text": reply.text, "annotations": _annotations(reply), "logprobs": []}
        message = {"type": "message", "id": "msg_0", "role": "assistant", "status": "completed"}
        yield {**message, "content": [part]}
    for index, act in enumerate(reply.acts):
        called = {"call_id": identity(act, index, "call_"), "name": act.name, "arguments": act.arguments}
        yield {"type": "function_call", "id": f"fc_{index}", "status": "completed", **called}


def _hosted(index: int, tool: Hosted) -> Json:
    if tool.kind == "web_search":
        source = {"type": "search", "query": tool.asked, "sources": [{"type": "url", "url": tool.found}]}
        return {"type": "web_search_call", "id": f"ws_{index}", "status": "completed", "action": source}
    ran = {"code": tool.asked, "container_id": "cntr_0", "outputs": [{"type": "logs", "logs": tool.found}]}
    return {"type": "code_interpreter_call", "id": f"ci_{index}", "status": "completed", **ran}


def _annotations(reply: Reply) -> list[Json]:
    urls = [tool.found for tool in reply.hosted if tool.kind == "web_search"]
    return [{"type": "url_citation", "start_index": 0, "end_index": 0, "url": url, "title": url} for url in urls]


def events(model: str, _: bool, reply: Reply) -> Iterator[bytes]:
    for number, data in enumerate(_events(model, reply)):
        kind, rest = data["type"].removeprefix("response."), dict(data)
        rest["type"] = f"response.{kind}"
        yield event({**rest, "sequence_number": number}, named=True)


def _events(model: str, reply: Reply) -> Iterator[Json]:
    """The events without their numbers, their types without the `response.` before each."""
    for kind in ("created", "in_progress"):
        yield {"type": kind, "response": _response(model)}
    for index, item in enumerate(_items(reply)):
        yield {"type": "output_item.added", "output_index": index, "item": {**item, **_begun(item)}}
        for data in _inside(item, reply.chunks):
            yield {**data, "item_id": item["id"], "output_index": index}
        yield {"type": "output_item.done", "output_index": index, "item": item}
    whole = document(model, reply)
    yield {"type": whole["status"], "response": whole}


def _begun(item: Json) -> Json:
    """What an item says before it is filled."""
    match item["type"]:
        case "reasoning":
            return {"summary": []}
        case "message":
            return {"content": [], "status": "in_progress"}
        case "function_call":
            return {"arguments": "", "status": "in_progress"}
        case _:
            return {"status": "in_progress"}


def _inside(item: Json, chunks: int) -> Iterator[Json]:
    match item:
        case {"type": "reasoning", "summary": [part]}:
            yield from _filled("reasoning_summary", "summary_index", part, chunks)
        case {"type": "message", "content": [part]}:
            yield from _filled("output", "content_index", part, chunks)
        case {"type": "function_call", "arguments": arguments, "name": name}:
            for piece in pieces(arguments, chunks):
                yield {"type": "function_call_arguments.delta", "delta": piece}
            yield {"type": "function_call_arguments.done", "arguments": arguments, "name": name}
        case _:
            steps = {"web_search_call": "searching", "code_interpreter_call": "interpreting"}
            for step in ("in_progress", steps[item["type"]], "completed"):
                yield {"type": f"{item['type']}.{step}"}


def _filled(name: str, position: str, part: Json, chunks: int) -> Iterator[Json]:
    """A part of text: it begins, is filled piece by piece, and is told whole."""
    place: Json = {position: 0}
    around = "content_part" if name == "output" else f"{name}_part"
    yield {"type": f"{around}.added", **place, "part": {**part, "text": ""}}
    for piece in pieces(part["text"], chunks):
        yield {"type": f"{name}_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": f"{name}_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": f"{around}.done", **place, "part": part}


def _usage(reply: Reply) -> Json:
    total = reply.input_tokens + reply.output_tokens
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    counts = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens, "total_tokens": total}
    return {**counts, **details}


def _broken(fault: Fault) -> bytes:
    return event({"type": "error", **chat.error(fault), "sequence_number": 0}, named=True)


WIRE = Wire(
    name="responses",
    key=bearer,
    no_key=chat.WIRE.no_key,
    indent=4,
    parse=parse,
    document=document,
    events=events,
    error=chat.error,
    broken=_broken,
    headers=chat.headers,
    models=chat.models,
)

AZURE = replace(WIRE, name="azure-responses", key=chat.AZURE.key, no_key=chat.AZURE.no_key, error=chat.AZURE.error)
"""Azure serves both of OpenAI's APIs."""
