"""Google's generateContent (https://ai.google.dev/api/generate-content): what the API refuses is refused in its words.

Like all of Google's JSON it takes names in camelCase and in snake_case, and speaks camelCase.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.providers.policy import Call, Fault, Limits, Reply
from tests.providers.wires import Asked, Json, Refused, Wire, event, names, need, pieces, unknown

FIELDS = names(
    "model contents systemInstruction tools toolConfig generationConfig safetySettings cachedContent serviceTier store "
    "labels"
)
GENERATION = names(
    "candidateCount stopSequences maxOutputTokens temperature topP topK seed presencePenalty frequencyPenalty "
    "responseMimeType responseSchema responseJsonSchema responseFormat responseModalities responseLogprobs logprobs "
    "thinkingConfig speechConfig mediaResolution enableEnhancedCivicAnswers audioTimestamp"
)
SCHEMA = names(
    "type format title description nullable enum maxItems minItems properties required minProperties maxProperties "
    "minLength maxLength pattern example anyOf propertyOrdering default items minimum maximum additionalProperties "
    "defs ref"
)
"""What a schema in `parameters` may say; any JSON Schema goes into `parametersJsonSchema`."""

BUILT_IN = names("googleSearch googleSearchRetrieval codeExecution urlContext googleMaps fileSearch computerUse")


def parse(asked: Asked) -> Call:
    body = _camel(asked.body)
    _check_names("", body, FIELDS)
    config = _camel(body.get("generationConfig") or {})
    _check_names(" at 'generation_config'", config, GENERATION)
    need(body.get("contents"), "* GenerateContentRequest.contents: contents is not specified\n")
    contents = [_camel(content) for content in body["contents"]]
    _check_contents(asked.model, contents)
    tools = [_camel(tool) for tool in body.get("tools") or ()]
    functions = [_camel(each) for tool in tools for each in tool.get("functionDeclarations") or ()]
    hosted = tuple(name for tool in tools for name in tool if name in BUILT_IN)
    options = _camel(body.get("toolConfig") or {})
    need(not (hosted and functions) or options.get("includeServerSideToolInvocations"), _MIXED)
    first = [{"role": "system", "content": body["systemInstruction"]["parts"]}] if body.get("systemInstruction") else []
    return Call(
        model=asked.model,
        key=asked.key,
        messages=(*first, *map(_message, contents)),
        tools={each["name"]: _parameters(each) for each in functions},
        schema=config.get("responseJsonSchema") or _lowered(config.get("responseSchema")),
        stream=asked.stream,
        include_usage=True,
        hosted=hosted,
    )


_MIXED = "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function calling."


def _camel(names: Mapping[str, Any]) -> Json:
    return {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): value for name, value in names.items()}


def _check_names(where: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    extra = unknown(given, known)
    need(not extra, f'Invalid JSON payload received. Unknown name "{extra}"{where}: Cannot find field.')


def _message(content: Mapping[str, Any]) -> Json:
    return {"role": "assistant" if content.get("role") == "model" else "user", "content": content["parts"]}


def _parameters(function: Mapping[str, Any]) -> Mapping[str, Any]:
    need(re.fullmatch(r"[a-zA-Z_][\w.:-]{0,127}", function["name"]), "Invalid function name. Must start with a letter.")
    if "parametersJsonSchema" in function:
        return function["parametersJsonSchema"]
    schema = function.get("parameters") or {}
    _check_schema(f" at 'tools[0].function_declarations[{function['name']}].parameters'", schema)
    return _lowered(schema)


def _check_schema(where: str, schema: Mapping[str, Any]) -> None:
    _check_names(where, _camel(schema), SCHEMA)
    for name, rule in (schema.get("properties") or {}).items():
        _check_schema(f"{where}.properties[{name}]", rule)
    for rule in (*(schema.get("anyOf") or ()), *([schema["items"]] if "items" in schema else [])):
        _check_schema(where, rule)


def _lowered(schema: Any) -> Any:
    """Google's schema as JSON Schema: it writes types in capitals."""
    match schema:
        case dict():
            return {
                name: value.lower() if name == "type" and isinstance(value, str) else _lowered(value)
                for name, value in schema.items()
            }
        case list():
            return [_lowered(item) for item in schema]
        case _:
            return schema


def _check_contents(model: str, contents: list[Json]) -> None:
    due = 0
    for index, content in enumerate(contents):
        need(content.get("role", "user") in ("user", "model", "function"), "Please use a valid role: user, model.")
        parts = [_camel(part) for part in content.get("parts") or ()]
        need(parts, f"* GenerateContentRequest.contents[{index}].parts: contents.parts must not be empty.\n")
        for number, part in enumerate(parts):
            need(part.keys() - {"thought", "thoughtSignature"}, _NO_DATA.format(index, number))
        results = sum("functionResponse" in part for part in parts)
        need(results == due, _UNPAIRED)
        calls = [part for part in parts if "functionCall" in part]
        need(index or not calls, _OUT_OF_TURN)
        signed = not calls or not _signs(model) or calls[0].get("thoughtSignature")
        need(signed, f"Function call is missing a thought_signature in functionCall parts, position {index}.")
        due = len(calls)
    need(not due, _UNPAIRED)


_NO_DATA = "* GenerateContentRequest.contents[{}].parts[{}].data: required oneof field 'data' must have one initialized field\n"
_UNPAIRED = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the "
    "function call turn."
)
_OUT_OF_TURN = (
    "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
)


def _signs(model: str) -> bool:
    """Whether the model wants its signatures back (https://ai.google.dev/gemini-api/docs/thought-signatures)."""
    return bool(re.match(r"gemini-([3-9]|\w+-latest)", model))


def document(model: str, reply: Reply) -> Json:
    return _response(
        model, [*_thought(reply, 1), *_hosted(reply), *_text(reply, 1), *_acts(model, reply)], reply, end=True
    )


def events(model: str, _: bool, reply: Reply) -> Iterator[bytes]:
    for part in (*_thought(reply, reply.chunks), *_hosted(reply), *_text(reply, reply.chunks), *_acts(model, reply)):
        yield event(_response(model, [part], reply), end="\r\n")
    yield event(_response(model, [{"text": ""}], reply, end=True), end="\r\n")


def _thought(reply: Reply, chunks: int) -> Iterator[Json]:
    for piece in pieces(reply.reasoning, chunks):
        yield {"text": piece, "thought": True}


def _text(reply: Reply, chunks: int) -> Iterator[Json]:
    for piece in pieces(reply.text, chunks):
        yield {"text": piece}


def _hosted(reply: Reply) -> Iterator[Json]:
    for tool in reply.hosted:
        if tool.kind == "code":
            yield {"executableCode": {"language": "PYTHON", "code": tool.asked}}
            yield {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": tool.found}}


def _acts(model: str, reply: Reply) -> Iterator[Json]:
    for index, act in enumerate(reply.acts):
        called: Json = {"name": act.name, "args": json.loads(act.arguments or "{}")}
        part: Json = {"functionCall": {**called, "id": act.id} if act.id else called}
        yield {**part, "thoughtSignature": "c2lnbmVk"} if _signs(model) and index == 0 else part


def _response(model: str, parts: list[Json], reply: Reply, *, end: bool = False) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if end:
        words = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}
        candidate["finishReason"] = words.get(reply.finished, "STOP")
        candidate |= _grounding(reply)
    return {"candidates": [candidate], "usageMetadata": _usage(reply), "modelVersion": model, "responseId": "1"}


def _grounding(reply: Reply) -> Json:
    searches = [tool for tool in reply.hosted if tool.kind == "web_search"]
    chunks = [{"web": {"uri": tool.found, "title": tool.found}} for tool in searches]
    queries = [tool.asked for tool in searches]
    return {"groundingMetadata": {"webSearchQueries": queries, "groundingChunks": chunks}} if searches else {}


def _usage(reply: Reply) -> Json:
    counts = {"promptTokenCount": reply.input_tokens, "candidatesTokenCount": reply.output_tokens}
    return {**counts, "totalTokenCount": reply.input_tokens + reply.output_tokens}


_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    408: "DEADLINE_EXCEEDED",
    504: "DEADLINE_EXCEEDED",
}
"""https://ai.google.dev/gemini-api/docs/troubleshooting and google.rpc.Code"""


def error(fault: Fault) -> Json:
    said: Json = {"code": fault.status, "message": fault.message}
    said["status"] = _STATUSES.get(fault.status, "UNKNOWN")
    details: list[Json] = []
    if fault.code:
        info = {"reason": fault.code, "domain": "googleapis.com"}
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info})
    if fault.retry_after is not None:
        wait = f"{fault.retry_after:g}s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": wait})
    return {"error": {**said, "details": details} if details else said}


def headers(_: Limits | None, __: float | None) -> dict[str, str]:
    """It tells no limits; how long to wait is in the body of a 429."""
    return {"server": "scaffolding on HTTPServer2"}


def models(names: tuple[str, ...]) -> Json:
    can = ["generateContent", "countTokens"]
    return {"models": [{"name": f"models/{name}", "supportedGenerationMethods": can} for name in names]}


WIRE = Wire(
    name="gemini",
    key=lambda headers, query: headers.get("x-goog-api-key", "") or query.get("key", ""),
    no_key=Refused("API key not valid. Please pass a valid API key.", 400, "API_KEY_INVALID"),
    parse=parse,
    document=document,
    events=events,
    error=error,
    indent=2,
    broken=lambda fault: event(error(fault), end="\r\n"),
    headers=headers,
    models=models,
)
