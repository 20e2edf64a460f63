"""What all wire formats share: the record of functions that makes one, and how a request is refused."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from tests.providers.policy import Act, Call, Fault, Limits, Reply

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read: what its path, its query, its headers (names in lower case) and its body say."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    query: Mapping[str, str]
    key: str
    model: str = ""
    """As in the path; empty: it is in the body."""
    stream: bool = False
    """Whether the path asks for a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A provider's API from the server's side. Bodies are JSON values; events are bytes of an event stream."""

    name: str
    key: Callable[[Mapping[str, str], Mapping[str, str]], str]
    """The key in the headers (names in lower case) or the query; empty: none."""
    no_key: "Refused"
    """What is answered to a wrong key."""
    needs_key: bool = True
    """Whether a call without any key is refused even where every key is taken."""
    parse: Callable[[Asked], Call]
    """Raises `Refused`, or an exception of a wrongly typed value."""
    document: Callable[[str, Reply], Json]
    """The model's name and the reply -> the whole reply."""
    events: Callable[[str, bool, Reply], Iterator[bytes]]
    """The model's name, whether usage was asked for, the reply -> the events of a stream."""
    error: Callable[[Fault], Json]
    indent: int | None = None
    """Of the body of an error."""
    broken: Callable[[Fault], bytes]
    """The event of an error inside a stream."""
    headers: Callable[[Limits | None, float | None], Mapping[str, str]]
    """What every response carries: the limits, and the seconds after which to try again."""
    models: Callable[[tuple[str, ...]], Json]


class Refused(Exception):
    """A request that the real API refuses, with its status, its words and its code for the error."""

    def __init__(self, message: str, status: int = 400, code: str = "") -> None:
        super().__init__(message)
        self.fault = Fault("status", status, message=message, code=code)


def need(condition: object, message: str) -> None:
    """Raises `Refused`, a 400, unless `condition` holds."""
    if not condition:
        raise Refused(message)


def names(words: str) -> frozenset[str]:
    return frozenset(words.split())


def unknown(body: Mapping[str, Any], known: frozenset[str]) -> str:
    """The first key of `body` that is not `known`; empty if there is none."""
    return next((name for name in body if name not in known), "")


@lru_cache(maxsize=64)
def rendered(wire: Wire, model: str, include_usage: bool, reply: Reply) -> tuple[bytes, ...]:
    """The reply as events. Cached: a benchmark asks for the same thing all day."""
    return tuple(wire.events(model, include_usage, reply))


def event(data: Mapping[str, Any], *, named: bool = False, end: str = "\n") -> bytes:
    """A server-sent event; `named`: its type is told in a field of its own as well."""
    name = f"event: {data['type']}{end}" if named else ""
    return f"{name}data: {json.dumps(data)}{end}{end}".encode()


def pieces(text: str, count: int) -> Iterator[str]:
    """`text` in `count` pieces that differ by at most one character in length; fewer where it is too short."""
    count = min(count, len(text))
    for index in range(count):
        yield text[index * len(text) // count : (index + 1) * len(text) // count]


def identity(act: Act, index: int, prefix: str) -> str:
    return act.id or f"{prefix}{index}"


def bearer(headers: Mapping[str, str], _: Mapping[str, str]) -> str:
    return headers.get("authorization", "").removeprefix("Bearer ")
