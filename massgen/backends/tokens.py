"""How many tokens a call will be counted for, before it is made."""

import functools
import json
import os
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from massgen.backends import Request
from massgen.messages import Media, Message, Text, ToolCall, ToolResult

PICTURE = 1_600
"""Tokens of a picture, about the most that providers count for one that fits their limits."""
OVERHEAD = 4
"""Tokens that wrap a message."""
EXACT = 200_000
"""Characters up to which a text is counted; a longer one is estimated."""


def count(request: Request) -> int:
    """The tokens of `request` by the vocabulary that litellm brings along; models' own differ by a tenth or so."""
    tools = [(tool.name, tool.description, json.dumps(tool.parameters)) for tool in request.tools]
    texts = [text for tool in tools for text in tool] + [json.dumps(request.schema)] * bool(request.schema)
    return sum(map(_message, request.messages)) + sum(map(_text, texts))


@functools.cache
def preload() -> threading.Thread:
    """Start reading the vocabulary in a thread (0.4 s; the first time; returned), so that the first call finds it there."""
    thread = threading.Thread(target=_vocabulary, name="read-vocabulary", daemon=True)
    thread.start()
    return thread


def _message(message: Message) -> int:
    return OVERHEAD + sum(map(_part, message.parts))


def _part(part: Text | Media | ToolCall | ToolResult) -> int:
    match part:
        case Text(text):
            return _text(text)
        case Media():
            return PICTURE
        case ToolCall():
            return _text(part.name) + _text(part.arguments)
        case ToolResult():
            return _text(part.content)


def _text(text: str) -> int:
    if len(text) > EXACT:
        return len(text.encode("utf-8", "replace")) // 3
    return len(_vocabulary().encode_ordinary(text))


@functools.cache
def _vocabulary() -> Any:
    # litellm's copy of the file, found without importing litellm; tiktoken would fetch one over the network.
    spec = find_spec("litellm")
    (place,) = spec.submodule_search_locations or [""] if spec else [""]
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(Path(place, "litellm_core_utils", "tokenizers")))
    import tiktoken

    return tiktoken.get_encoding("cl100k_base")
