"""Server-sent events with JSON in them, from the bytes of a response. No I/O.

Only `data:` lines matter to model APIs (https://html.spec.whatwg.org/multipage/server-sent-events.html): comments,
other fields and the blank lines between events are passed over.
"""

import json
from collections.abc import Iterator
from typing import Any, TypeGuard

MAX_LINE = 4 * 2**20
"""Bytes of one event."""
MAX_REPLY = 64 * 2**20
"""Bytes of one reply, framing included; a chunk of a few characters takes about 200."""
MAX_SHOWN = 120
"""Bytes of a malformed reply that are worth showing."""


class BadReply(Exception):
    """The response is not what its format says, or too long."""


class EventReader:
    """Give it the blocks of a response in order, then `None` for its end."""

    def __init__(self) -> None:
        self.done = False
        """`[DONE]` was read."""
        self._start = b""
        self._rest = b""
        self._size = 0
        self._any = False

    def events(self, block: bytes | None) -> Iterator[dict[str, Any]]:
        """The JSON objects that `block` completes. Raises `BadReply`."""
        for line in self._last() if block is None else self._lines(block):
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            self._any = True
            if data == b"[DONE]":
                self.done = True
                return
            if data:
                yield json_object(data)

    def _lines(self, block: bytes) -> list[bytes]:
        self._start = self._start or block[:MAX_SHOWN]
        self._size += len(block)
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE or self._size > MAX_REPLY:
            raise BadReply(f"the reply is longer than {MAX_REPLY:,} bytes, or one event than {MAX_LINE:,}")
        return lines

    def _last(self) -> list[bytes]:
        if not self._any and not self._rest.startswith(b"data:"):
            raise BadReply(f"the reply holds no events; it begins {_shown(self._start)}")
        return [self._rest]


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` is. Raises `BadReply`, which names what it is instead."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise BadReply(f"the reply holds {_shown(data)}, which is not JSON") from None
    if not is_object(value):
        raise BadReply(f"the reply holds {_shown(data)}, which is not a JSON object")
    return value


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether `value`, decoded JSON, is an object."""
    return isinstance(value, dict)


def _shown(data: bytes) -> str:
    text = data[:MAX_SHOWN].decode("utf-8", "replace")
    return repr(text + ("..." if len(data) > MAX_SHOWN else ""))
