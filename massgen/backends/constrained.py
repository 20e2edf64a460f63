"""Tools for models without tool calling: the reply is JSON under a schema, and becomes the call it names.

Measured on small local models: by their own tool calls 0 of 20 replies were valid, under a schema nearly all were.
"""

import json
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from massgen import prompts
from massgen.backends import Backend, Request, Tool
from massgen.backends.sse import is_object
from massgen.errors import BackendError
from massgen.messages import (
    Chunk,
    Finish,
    Media,
    Message,
    Part,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    parse_arguments,
    user,
)

KEY = "tool"
"""The property that names the tool."""
WRAPPER = "call"
"""The property that holds the call: OpenAI refuses a schema whose root is a choice between objects, and is none."""

_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL | re.IGNORECASE)


class Constrained:
    """`backend`, made to call tools by a JSON Schema for its reply; a reply that follows none stays text."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def model(self) -> str:
        return self._backend.model

    async def aclose(self) -> None:
        await self._backend.aclose()

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        """Text comes at the end, in one piece: only the whole shows whether it is a call."""
        names = {tool.name for tool in request.tools}
        text: list[str] = []
        last: list[Chunk] = []
        async with aclosing(self._backend.stream(constrain(request))) as chunks:
            async for chunk in chunks:
                match chunk:
                    case TextDelta(piece) if names:
                        text.append(piece)
                    case Usage() | Finish():
                        last.append(chunk)
                    case _:
                        yield chunk
        for chunk in _ending("".join(text), names, last):
            yield chunk


def _ending(text: str, names: set[str], last: Sequence[Chunk]) -> Iterator[Chunk]:
    call = read_call(text, names)
    if call or text:
        yield call or TextDelta(text)
    for chunk in last:
        yield Finish("tool_calls") if call and isinstance(chunk, Finish) else chunk


def constrain(request: Request) -> Request:
    """`request` without tools, and with a history that shows none: its schema and last user message stand for them."""
    messages = _joined(_plain(request.messages))
    if not request.tools:
        return replace(request, messages=messages)
    instruction = _instruction(request.tools)
    return replace(request, messages=_instructed(messages, instruction), tools=(), schema=schema_of(request.tools))


def schema_of(tools: Sequence[Tool]) -> dict[str, Any]:
    """The schema of a reply that calls one of `tools`. The properties keep their order: models reason as they write."""
    own = [_owned(tool, f"tool{place}") for place, tool in enumerate(tools, 1)]
    forms = [_form(tool) for tool in own]
    schema = _closed({WRAPPER: forms[0] if len(forms) == 1 else {"anyOf": forms}})
    shared = {name: rule for tool in own for name, rule in tool.parameters.get("$defs", {}).items()}
    return {**schema, "$defs": shared} if shared else schema


def _owned(tool: Tool, prefix: str) -> Tool:
    """`tool` as it may stand beside others: its definitions are called `PREFIX_NAME`, and there is one more, `PREFIX`, of all
    its parameters, if a reference leads to another place in them."""
    rest: dict[str, Any] = {key: rule for key, rule in tool.parameters.items() if key != "$defs"}
    named = {f"{prefix}_{name}": rule for name, rule in tool.parameters.get("$defs", {}).items()}
    whole = {prefix: rest} if any(not each.startswith("#/$defs/") for each in _references(tool.parameters)) else {}
    return replace(tool, parameters=_redirected({**rest, "$defs": {**named, **whole}}, prefix))


def _references(rule: Any) -> Iterator[str]:
    """Where the references in `rule` lead within its schema, as JSON Pointers after a `#`."""
    match rule:
        case {"$ref": str(place)} if place.startswith("#"):
            yield place
        case _:
            pass
    for each in _inside(rule):
        yield from _references(each)


def _inside(rule: Any) -> Iterable[Any]:
    if is_object(rule):
        return rule.values()
    return cast("list[Any]", rule) if isinstance(rule, list) else ()


def _redirected(rule: Any, prefix: str) -> Any:
    """`rule` with its references to where `_owned` puts what they mean."""
    if isinstance(rule, list):
        return [_redirected(each, prefix) for each in cast("list[Any]", rule)]
    if not is_object(rule):
        return rule
    inner = {key: _redirected(each, prefix) for key, each in rule.items()}
    match rule:
        case {"$ref": str(place)} if place.startswith("#/$defs/"):
            return {**inner, "$ref": f"#/$defs/{prefix}_{place.removeprefix('#/$defs/')}"}
        case {"$ref": str(place)} if place.startswith("#"):
            return {**inner, "$ref": f"#/$defs/{prefix}{place[1:]}"}
        case _:
            return inner


def _form(tool: Tool) -> dict[str, Any]:
    given: Mapping[str, Any] = tool.parameters.get("properties", {})
    if KEY in given:
        raise BackendError(
            f"the tool {tool.name!r} has a parameter {KEY!r}, which `tool_calling: json` needs for itself",
            fix="Use `tool_calling: native` for this agent, or leave the tool out.",
        )
    # Not `const`: OpenAI wants a type beside it, and litellm loses it on the way to Gemini.
    return _closed({KEY: {"type": "string", "enum": [tool.name]}, **given})


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with all of `properties` and no other."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _instruction(tools: Sequence[Tool]) -> str:
    forms = "\n".join(f"{_example(tool)} - {' '.join(tool.description.split())}" for tool in tools)
    return prompts.JSON_ONLY.format(form="one of these forms" if len(tools) > 1 else "this form", forms=forms)


def _example(tool: Tool) -> str:
    """The form of a call, values replaced by what may stand there."""
    rules: Mapping[str, Any] = tool.parameters.get("properties", {})
    values = ", ".join(f"{json.dumps(name)}: {_value(rule)}" for name, rule in rules.items())
    form = f"{{{json.dumps(KEY)}: {json.dumps(tool.name)}{', ' if values else ''}{values}}}"
    return f"{{{json.dumps(WRAPPER)}: {form}}}"


def _value(rule: Any) -> str:
    rules: Mapping[str, Any] = rule if is_object(rule) else {}
    choices: Sequence[Any] = rules.get("enum") or ()
    return " or ".join(json.dumps(choice) for choice in choices) or f"<{rules.get('type', 'value')}>"


def read_call(text: str, names: set[str]) -> ToolCallDelta | None:
    """The call that `text` is: one JSON object, as a whole or in one code fence, that names one of `names`.

    Where no schema is enforced it may stand without its wrapper. A call quoted in other text is not one. Line breaks inside
    strings, which small models write, are accepted.
    """
    fenced = _FENCED.fullmatch(text.strip())
    try:
        value = json.loads(fenced[1] if fenced else text, strict=False)
    except (ValueError, RecursionError):
        return None
    if is_object(value) and [*value] == [WRAPPER]:
        value = value[WRAPPER]
    if not is_object(value):
        return None
    name = value.pop(KEY, None)
    if not isinstance(name, str) or name not in names:
        return None
    return ToolCallDelta(0, name=name, arguments=json.dumps(value, ensure_ascii=False))


def _plain(messages: Sequence[Message]) -> Iterator[Message]:
    """`messages` with calls as the JSON that made them, and results as words of the user."""
    names: dict[str, str] = {}
    for message in messages:
        names.update({call.id: call.name for call in message.tool_calls})
        role = "user" if message.role == "tool" else message.role
        yield Message(
            role, tuple(_plain_part(part, names, first=not place) for place, part in enumerate(message.parts))
        )


def _plain_part(part: Part, names: Mapping[str, str], *, first: bool) -> Part:
    start = "" if first else "\n"
    match part:
        case ToolCall():
            return Text(start + _written(part))
        case ToolResult(call_id, content, is_error):
            wording = prompts.JSON_TOOL_FAILED if is_error else prompts.JSON_TOOL_RESULT
            return Text(start + wording.format(name=names.get(call_id, "the call"), content=content))
        case Text() | Media():
            return part


def _written(call: ToolCall) -> str:
    try:
        return json.dumps({WRAPPER: {KEY: call.name, **parse_arguments(call)}}, ensure_ascii=False)
    except ValueError:
        return call.arguments


def _joined(messages: Iterator[Message]) -> list[Message]:
    """Neighbours of one role as one message: many chat templates refuse two in a row."""
    out: list[Message] = []
    for message in messages:
        before = (*out.pop().parts, Text("\n\n")) if out and out[-1].role == message.role else ()
        out.append(Message(message.role, (*before, *message.parts)))
    return out


def _instructed(messages: list[Message], instruction: str) -> list[Message]:
    place = next((n for n in reversed(range(len(messages))) if messages[n].role == "user"), None)
    if place is None:
        return [*messages, user(instruction)]
    asked = Message("user", (*messages[place].parts, Text(f"\n\n{instruction}")))
    return [*messages[:place], asked, *messages[place + 1 :]]
