"""What MCP servers are given and return: arguments; the content of a call's result, as text, and what an error says."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from massgen.toolbox import Returned

MAX_RESULT = 16 * 2**20
"""Bytes of a result that are taken in at all, as they come over the wire."""
MAX_ERROR = 2_000
"""Characters of an error that somebody else wrote."""


class Lost(Exception):
    """A server is not there any longer, or was never; why."""


class Expired(Lost):
    """The server has forgotten the session, and refused the call without a look at it."""


def returned(content: Iterable[Any], structured: Any, is_error: bool) -> Returned:
    """The parts of a result, one after another; what is no text is named, and a result without parts is its structure."""
    parts = [_text(part) for part in content]
    if not parts and structured is not None:
        parts = [json.dumps(structured, ensure_ascii=False)]
    return Returned("\n".join(parts), is_error)


def _text(part: Any) -> str:
    match part.type:
        case "text":
            return part.text
        case "image" | "audio":
            return f"[{part.type}, {part.mime_type}, {len(part.data) * 3 // 4} bytes; it cannot be shown as text]"
        case "resource_link":
            return f"[a resource: {part.name}, {part.uri}]"
        case _:
            inner = part.resource
            text = getattr(inner, "text", None)
            return text if text is not None else f"[a resource: {inner.uri}, {len(inner.blob) * 3 // 4} bytes]"


def sendable(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """`arguments`, which were JSON, without halves of characters: a model may escape one, and no wire takes it."""
    text = json.dumps(arguments, ensure_ascii=False)
    return arguments if text == (whole := writable(text)) else json.loads(whole)


def writable(text: str) -> str:
    """`text` without halves of characters, which no file takes. What comes over the wire has none."""
    return text.encode(errors="replace").decode()


def failed(why: str) -> Returned:
    """An error as a result: `why`, shortened."""
    text = " ".join(why.split()) if len(why) <= MAX_ERROR else f"{' '.join(why[:MAX_ERROR].split())} ..."
    return Returned(writable(text), is_error=True)
