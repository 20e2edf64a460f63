"""Which API a request is for: its method, path and headers to a wire."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.providers import chat, gemini, messages, responses
from tests.providers.wires import Wire

What: TypeAlias = Literal["models", "reply", "stream"]


@dataclass(frozen=True, slots=True)
class Place:
    """What is asked for: `stream` where the path says that it is one."""

    wire: Wire
    what: What
    model: str = ""
    """As in the path."""


_ROUTES: tuple[tuple[str, str, Wire, What], ...] = (
    ("POST", r"/v1/chat/completions", chat.WIRE, "reply"),
    ("POST", r"/v1/responses", responses.WIRE, "reply"),
    ("POST", r"/v1/messages", messages.WIRE, "reply"),
    ("POST", r"/v1(beta)?/models/(?P<model>[^/]+):generateContent", gemini.WIRE, "reply"),
    ("POST", r"/v1(beta)?/models/(?P<model>[^/]+):streamGenerateContent", gemini.WIRE, "stream"),
    ("POST", r"/openai/deployments/(?P<model>[^/]+)/chat/completions", chat.AZURE, "reply"),
    ("POST", r"/openai(/v1)?/responses", responses.AZURE, "reply"),
    ("GET", r"/v1(beta)?/models", chat.WIRE, "models"),
)


def find(method: str, path: str, headers: Mapping[str, str]) -> Place | None:
    """The place of a request, None if there is none; the names of `headers` are in lower case."""
    for known, pattern, wire, what in _ROUTES:
        if method == known and (found := re.fullmatch(pattern, path)):
            return Place(_lister(headers) if what == "models" else wire, what, found.groupdict().get("model", ""))
    return None


def _lister(headers: Mapping[str, str]) -> Wire:
    """Three APIs list their models at one path; the headers tell them apart."""
    if "anthropic-version" in headers:
        return messages.WIRE
    return gemini.WIRE if "x-goog-api-key" in headers else chat.WIRE
