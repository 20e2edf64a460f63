"""Frozen dataclasses to JSON and back, checked against their type hints.

A dataclass becomes an object whose `type` names the class; unions of dataclasses are told apart by it. Fields
at their default are left out. Decoding accepts what encoding writes and nothing else: a wrong type, a missing
or an unknown field is a `DecodeError` that names its path.
(pydantic adapters over the same classes cost every command 100 ms of CPU.)
"""

import dataclasses
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
_Decoder: TypeAlias = Callable[[Any, str], Any]
_MISSING = dataclasses.MISSING
_PLAIN = frozenset({str, int, float, bool, types.NoneType})


class DecodeError(ValueError):
    """A JSON value that is not what its type says; the message starts with the value's path."""


def encode(value: Any) -> Any:
    """`value` (dataclasses, tuples, mappings and plain JSON) as plain JSON."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    return _encode_dataclass(value)


def _encode_dataclass(value: Any) -> dict[str, Any]:
    kind = cast("type[Any]", type(value))
    out: dict[str, Any] = {"type": kind.__name__}
    for name, default in _defaults(kind):
        item = getattr(value, name)
        if default is _MISSING or item != default:
            out[name] = item if type(item) in _PLAIN else encode(item)
    return out


@cache
def _defaults(kind: type) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, _default(field)) for field in dataclasses.fields(kind))


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not _MISSING:
        return field.default_factory()
    return field.default


def decode(hint: type[T] | Any, value: Any) -> T:
    """`value` as an instance of `hint`: a dataclass, a union of them, or a plain type. Raises `DecodeError`."""
    return _decoder(hint)(value, "$")


@cache
def _decoder(hint: Any) -> _Decoder:
    args = get_args(hint)
    match get_origin(hint):
        case None:
            return _plain(hint)
        case origin if origin is Literal:
            return _literal(args)
        case origin if origin is tuple:
            return _sequence(args[0])
        case origin if origin in (Mapping, dict):
            return _mapping(*args)
        case _:
            return _union(args)


def _plain(hint: Any) -> _Decoder:
    if hint is Any:
        return lambda value, path: value
    return _scalar(hint) if hint in (str, int, float, bool, types.NoneType) else _dataclass(hint)


def _scalar(kind: type) -> _Decoder:
    def read(value: Any, path: str) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise DecodeError(f"{path}: expected {kind.__name__}, found {_name(value)}")
        return value

    return read


def _literal(allowed: tuple[Any, ...]) -> _Decoder:
    def read(value: Any, path: str) -> Any:
        if value not in allowed:
            raise DecodeError(f"{path}: expected one of {', '.join(map(str, allowed))}, found {_name(value)}")
        return value

    return read


def _sequence(item_hint: Any) -> _Decoder:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, list):
            raise DecodeError(f"{path}: expected a list, found {_name(value)}")
        item = _decoder(item_hint)
        return tuple(item(each, f"{path}[{index}]") for index, each in enumerate(cast("list[Any]", value)))

    return read


def _mapping(key_hint: type, item_hint: Any) -> _Decoder:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise DecodeError(f"{path}: expected an object, found {_name(value)}")
        item = _decoder(item_hint)
        fields = cast("dict[str, Any]", value)
        return {_key(key_hint, key, path): item(each, f"{path}.{key}") for key, each in fields.items()}

    return read


def _key(kind: type, key: str, path: str) -> Any:
    try:
        decoded = kind(key)
    except ValueError:
        decoded = None
    if str(decoded) != key:  # int() would also take " 1", "1_0" and "٣"
        raise DecodeError(f"{path}: {key[:40]!r} is not a key of type {kind.__name__}")
    return decoded


def _union(members: tuple[Any, ...]) -> _Decoder:
    classes: dict[Any, Any] = {member.__name__: member for member in members if hasattr(member, "__dataclass_fields__")}
    plain = [member for member in members if member not in classes.values()]

    def read(value: Any, path: str) -> Any:
        if isinstance(value, dict) and classes:
            tag = cast("dict[str, Any]", value).get("type")
            if not isinstance(tag, str) or tag not in classes:
                raise DecodeError(f"{path}.type: unknown type {_name(tag)}")
            return _decoder(classes[tag])(value, path)
        return _first_that_fits(plain, value, path)

    return read


def _first_that_fits(hints: list[Any], value: Any, path: str) -> Any:
    for hint in hints:
        try:
            return _decoder(hint)(value, path)
        except DecodeError:
            continue
    raise DecodeError(f"{path}: {_name(value)} fits none of the allowed types")


def _dataclass(kind: type) -> _Decoder:
    hints = get_type_hints(kind)
    required = {name for name, default in _defaults(kind) if default is _MISSING}

    def read(value: Any, path: str) -> Any:
        fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if fields.get("type") != kind.__name__:
            raise DecodeError(f"{path}: expected a {kind.__name__}, found {_name(value)}")
        given = fields.keys() - {"type"}
        if missing := sorted(required - given):
            raise DecodeError(f"{path}: {kind.__name__} lacks {', '.join(missing)}")
        if unknown := sorted(given - hints.keys()):
            raise DecodeError(f"{path}: {kind.__name__} has no {', '.join(unknown)}")
        return kind(**{name: _decoder(hints[name])(fields[name], f"{path}.{name}") for name in given})

    return read


def _name(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
