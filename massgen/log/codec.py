"""Frozen dataclasses to JSON and back, checked against their type hints.

A dataclass becomes an object whose `type` names the class; unions of dataclasses are told apart by it. Fields
at their default are left out. Decoding accepts what encoding writes and nothing else: a wrong type, a missing
or an unknown field is a `DecodeError` that names its path.
(pydantic adapters over the same classes cost every command 100 ms of CPU.)
"""

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping, Set
from functools import cache
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
_Decoder: TypeAlias = Callable[[Any], Any]
_MISSING = dataclasses.MISSING
_PLAIN = frozenset({str, int, float, bool, types.NoneType})


class DecodeError(ValueError):
    """A JSON value that is not what its type says; told with its `path`, which grows on the way out: what is well pays
    for no path."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem, path)
        self.problem, self.path = problem, path

    def __str__(self) -> str:
        return f"${self.path}: {self.problem}"

    def below(self, step: str) -> "DecodeError":
        return DecodeError(self.problem, step + self.path)


def encode(value: Any) -> Any:
    """`value` (dataclasses, tuples, mappings and plain JSON) as plain JSON."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in cast("list[Any]", value)]
    if hasattr(value, "__dataclass_fields__"):  # before the look for a mapping, which takes longer than all else
        return _encode_dataclass(value)
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    return value  # a kind of text or number; of all else, JSON's own encoder says that it is none


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
    return _decoder(hint)(value)


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
        return lambda value: value
    return _scalar(hint) if hint in _PLAIN else _dataclass(hint)


def _scalar(kind: type) -> _Decoder:
    def read(value: Any) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise DecodeError(f"expected {kind.__name__}, found {_name(value)}")

    return read


def _literal(allowed: tuple[Any, ...]) -> _Decoder:
    def read(value: Any) -> Any:
        if value not in allowed:
            raise DecodeError(f"expected one of {', '.join(map(str, allowed))}, found {_name(value)}")
        return value

    return read


def _sequence(item_hint: Any) -> _Decoder:
    item = _decoder(item_hint)

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise DecodeError(f"expected a list, found {_name(value)}")
        made: list[Any] = []
        try:
            for each in cast("list[Any]", value):
                made.append(item(each))
        except DecodeError as error:
            raise error.below(f"[{len(made)}]") from None
        return tuple(made)

    return read


def _mapping(key_hint: type, item_hint: Any) -> _Decoder:
    item = _decoder(item_hint)

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise DecodeError(f"expected an object, found {_name(value)}")
        made: dict[Any, Any] = {}
        for key, each in cast("dict[str, Any]", value).items():
            try:
                made[_key(key_hint, key)] = item(each)
            except DecodeError as error:
                raise error.below(f".{key}") from None
        return made

    return read


def _key(kind: type, key: str) -> Any:
    try:
        decoded = kind(key)
    except ValueError:
        decoded = None
    if str(decoded) != key:  # int() would also take " 1", "1_0" and "٣"
        raise DecodeError(f"{key[:40]!r} is not a key of type {kind.__name__}")
    return decoded


def _union(members: tuple[Any, ...]) -> _Decoder:
    classes = {member.__name__: _decoder(member) for member in members if hasattr(member, "__dataclass_fields__")}
    plain = [_decoder(member) for member in members if not hasattr(member, "__dataclass_fields__")]
    scalars = _PLAIN.intersection(members)

    def read(value: Any) -> Any:
        if type(value) in scalars:
            return value
        if isinstance(value, dict) and classes:
            tag = cast("dict[str, Any]", value).get("type")
            if not isinstance(tag, str) or tag not in classes:
                raise DecodeError(f"unknown type {_name(tag)}", ".type")
            return classes[tag](value)
        return _first_that_fits(plain, value)

    return read


def _first_that_fits(readers: Iterable[_Decoder], value: Any) -> Any:
    for read in readers:
        try:
            return read(value)
        except DecodeError:
            continue
    raise DecodeError(f"{_name(value)} fits none of the allowed types")


def _dataclass(kind: type) -> _Decoder:
    readers = {name: _decoder(hint) for name, hint in get_type_hints(kind).items()}
    required = {name for name, default in _defaults(kind) if default is _MISSING}

    def read(value: Any) -> Any:
        fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if fields.get("type") != kind.__name__:
            raise DecodeError(f"expected a {kind.__name__}, found {_name(value)}")
        made: dict[str, Any] = {}
        for name, item in fields.items():
            if reader := readers.get(name):
                try:
                    made[name] = reader(item)
                except DecodeError as error:
                    raise error.below(f".{name}") from None
        if len(made) != len(fields) - 1 or not required <= made.keys():
            raise _misshapen(kind, required, fields.keys() - {"type"}, readers.keys())
        return kind(**made)

    return read


def _misshapen(kind: type, required: Set[str], given: Set[str], known: Set[str]) -> DecodeError:
    if missing := sorted(required - given):
        return DecodeError(f"{kind.__name__} lacks {', '.join(missing)}")
    return DecodeError(f"{kind.__name__} has no {', '.join(sorted(given - known))}")


def _name(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
