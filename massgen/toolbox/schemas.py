"""Tools' schemas as servers give them, and as every provider takes them.

One schema that a provider refuses costs the whole request, and so the agent: what can be said in other words is, and what is
broken costs that tool alone. A schema may lose a rule by that, never gain one: servers check what they are given. But of an
argument that only some alternatives name, what those say counts.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard, cast

Schema: TypeAlias = Mapping[str, Any]

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
MAX_DEPTH = 40
MAX_PARTS = 5_000
"""A schema with more parts than this is refused: it would fill a model's window by itself."""
MAX_TOLD = 20
_BY_NAME = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_VALUES = ("const", "default")
"""What may be null; elsewhere that stands for a keyword that is not there."""
_NOT_AT_THE_TOP = ("$ref", "allOf", "anyOf", "oneOf", "not", "enum", "const")
"""Anthropic and OpenAI refuse these there."""
_MAX_WAY = 16
_MAX_BRANCHES = 100
"""Of combinations at the top, and within each other, that are looked into."""


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


def accepted(schema: Any) -> Any:
    """`schema` in words that every provider takes; if it is broken, it still is."""
    if not _is(schema):
        return schema
    flat = _flat(schema, schema, {})
    kind = "object" if "object" in _listed(flat.get("type") or "object") else flat["type"]
    return _tidied({**flat, "properties": flat.get("properties") or {}, "type": kind}, flat)


def _tidied(part: Any, root: Schema, depth: int = 0) -> Any:
    """`part` of `root`, and all in it, without what some provider refuses: null or true for a schema, an empty list for an
    empty object (as PHP writes it), lists of nothing in particular, references that lead nowhere, required names that are
    none or twice there."""
    if part is True and depth:
        return {}
    if not _is(part) or depth > MAX_DEPTH:
        return part
    schema = {key: each for key, each in part.items() if (each is not None and each != []) or key in _VALUES}
    if "$ref" in schema and not _is(_led(root, schema["$ref"])):
        del schema["$ref"]
    if isinstance(schema.get("items"), list):
        schema["items"] = {"anyOf": schema["items"]}
    if "array" in _listed(schema.get("type")):
        schema.setdefault("items", {})
    return _with_names({key: _inside(key, each, root, depth + 1) for key, each in schema.items()})


def _inside(key: str, value: Any, root: Schema, depth: int) -> Any:
    """What stands in a schema at `key`, with the schemas in it tidied."""
    match key, value:
        case _, dict() if key in _BY_NAME:
            return {name: _tidied(each, root, depth) for name, each in cast("Schema", value).items()}
        case _, list() if key in _SEVERAL:
            return [_tidied(each, root, depth) for each in cast("list[Any]", value)]
        case "additionalProperties", bool():
            return value
        case _ if key in _ONE:
            return _tidied(value, root, depth)
        case _:
            return value


def _with_names(schema: dict[str, Any]) -> dict[str, Any]:
    """With each required name once, and as a property if there are any."""
    if not (names := _names(schema.get("required"))):
        return schema
    said = {**schema, "required": names}
    if _is(properties := schema.get("properties")):
        said["properties"] = {**properties, **{name: {} for name in names if name not in properties}}
    return said


def _flat(root: Schema, schema: Schema, seen: dict[str, Schema], way: int = 0) -> dict[str, Any]:
    """`schema` with the arguments that stand in its combinations and references: what is in any of them may be given. No
    reference is followed twice: what it leads to is `seen`, which is nothing yet where it leads to itself."""
    own = {key: each for key, each in schema.items() if key not in _NOT_AT_THE_TOP}
    if way > _MAX_WAY:
        return own
    reference = str(schema.get("$ref"))
    if reference not in seen and _is(led := _led(root, reference)):
        seen[reference] = {}
        seen[reference] = _flat(root, led, seen, way + 1)
    all_of, any_of, one_of = (_branches(root, schema.get(key), seen, way) for key in ("allOf", "anyOf", "oneOf"))
    led_to = [seen[reference]] if reference in seen else []
    for flat in (led_to, *([each] for each in all_of), any_of, one_of):
        if flat and _is(properties := own.get("properties") or {}):
            own["properties"] = {**_together(flat), **properties}
            needed = set[str].intersection(*({*_names(each.get("required"))} for each in flat))
            own["required"] = [*_names(own.get("required")), *sorted(needed)]
    return own


def _branches(root: Schema, every: Any, seen: dict[str, Schema], way: int) -> Sequence[Schema]:
    """Those that a value can fit, flat; one that any value fits is an empty one, and so are those that are too many."""
    first, more = _listed(every)[:_MAX_BRANCHES], _listed(every)[_MAX_BRANCHES:]
    flat = [_flat(root, each, seen, way + 1) if _is(each) else {} for each in first if each is True or _is(each)]
    return [*flat, {}] if more else flat


def _together(every: Iterable[Schema]) -> dict[str, Any]:
    """The properties of some schemas; of one that is in several of them, what any says."""
    found: dict[str, list[Any]] = {}
    for properties in (each.get("properties") for each in every):
        for name, each in properties.items() if _is(properties) else ():
            if each not in (said := found.setdefault(name, [])):
                said.append(each)
    return {name: said[0] if len(said) == 1 else {"anyOf": said} for name, said in found.items()}


def _led(root: Schema, reference: Any) -> Any:
    """What `reference` leads to in `root`; None if that is nothing, or elsewhere."""
    if not isinstance(reference, str) or not re.fullmatch(r"#(/.*)?", reference):
        return None
    place: Any = root
    for step in reference.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        place = place.get(key) if _is(place) else None
    return place


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _names(required: Any) -> list[str]:
    """Each once; none if something else is among them."""
    every = _listed(required or [])
    return [*dict.fromkeys(every)] if all(isinstance(each, str) for each in every) else []


def _is(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def mended(listing: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A reply to `tools/list` with the tools that can be offered, and what is wrong with the others.

    mcp refuses the whole list for one tool that breaks the protocol."""
    tools, told = dict[str, Any](), list[str]()
    for each in listing["tools"]:
        match each:
            case {"name": str(name)} if name:
                schema = accepted(each.get("inputSchema"))
                if why := "a second one has that name" if name in tools else flaw(schema):
                    told.append(f"the tool {name[:60]!r} is left out: {why}")
                else:
                    tools[name] = {**each, "inputSchema": schema}
            case _:
                told.append("a tool without a name is left out")
    more = [f"{len(told) - MAX_TOLD} more tools are left out"] if len(told) > MAX_TOLD else []
    return {**listing, "tools": [*tools.values()]}, [*told[:MAX_TOLD], *more]
