"""Tools' schemas as servers give them: what is wrong with one is told, and costs that tool alone."""

from collections.abc import Mapping
from typing import Any, cast

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
MAX_DEPTH = 40
MAX_PARTS = 5_000
"""A schema with more parts than this is refused: it would fill a model's window by itself."""
MAX_TOLD = 20
_BY_NAME = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


def flaw(schema: Any) -> str:
    """Why `schema` is no JSON Schema of a tool's arguments, which are an object; empty if it is one.

    Not whether every keyword is used rightly: only what would make providers refuse a whole request."""
    if not isinstance(schema, Mapping):
        return "its inputSchema is no object"
    if cast("Mapping[str, Any]", schema).get("type", "object") != "object":
        return "its inputSchema is of another type than object"
    todo: list[tuple[Any, int]] = [(schema, 0)]
    parts = 0
    while todo:
        part, depth = todo.pop()
        parts += 1
        if depth > MAX_DEPTH or parts > MAX_PARTS:
            return f"its inputSchema has more than {MAX_PARTS} parts, or {MAX_DEPTH} levels"
        if isinstance(part, bool):
            continue
        if why := _flaw_of(part):
            return f"its inputSchema is broken: {why}"
        todo.extend((each, depth + 1) for each in _inner(part))
    return ""


def _flaw_of(part: Any) -> str:
    """What is wrong with this part itself."""
    if not isinstance(part, Mapping):
        return f"{str(part)[:40]!r} stands for a schema"
    schema = cast("Mapping[str, Any]", part)
    kinds = schema.get("type", "object")
    unknown = [kind for kind in (cast("list[Any]", kinds) if isinstance(kinds, list) else [kinds]) if kind not in TYPES]
    if unknown:
        return f"no type is called {str(unknown[0])[:40]!r}"
    mappings = [key for key in _BY_NAME if not isinstance(schema.get(key, {}), Mapping)]
    lists = [key for key in (*_SEVERAL, "required", "enum") if not isinstance(schema.get(key, []), list)]
    if mappings or lists:
        return f"`{mappings[0]}` is no object" if mappings else f"`{lists[0]}` is no list"
    names_only = all(isinstance(each, str) for each in schema.get("required", []))
    return "" if names_only else "`required` holds more than names"


def _inner(part: Mapping[str, Any]) -> list[Any]:
    named = [each for key in _BY_NAME for each in part.get(key, {}).values()]
    several = [each for key in _SEVERAL for each in part.get(key, [])]
    return [*named, *several, *(part[key] for key in _ONE if key in part and not isinstance(part[key], list))]


def mended(listing: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A reply to `tools/list` with the tools that can be offered, and what is wrong with the others.

    mcp refuses the whole list for one tool that breaks the protocol. A type that is left out is supplied."""
    tools, told = dict[str, Any](), list[str]()
    for each in listing["tools"]:
        match each:
            case {"name": str(name), "inputSchema": schema} if name and not (why := flaw(schema)) and name not in tools:
                tools[name] = {**each, "inputSchema": {"type": "object", **schema}}
            case {"name": str(name)} if name:
                why = "a second one has that name" if name in tools else flaw(each.get("inputSchema"))
                told.append(f"the tool {name[:60]!r} is left out: {why}")
            case _:
                told.append("a tool without a name is left out")
    more = [f"{len(told) - MAX_TOLD} more tools are left out"] if len(told) > MAX_TOLD else []
    return {**listing, "tools": [*tools.values()]}, [*told[:MAX_TOLD], *more]
