"""What litellm raises, told as the direct client tells the same failure: from what lies beneath litellm's own words.

litellm wraps a provider's response in exceptions of its own, with a status it finds more fitting, the body as Python shows
bytes, advice about litellm, a traceback; but the response, or the connection's failure, stays in the chain of causes.
"""

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import aiohttp

from massgen.backends.failures import MAX_TEXT, Caller, said
from massgen.errors import BackendError

_WRAPPING = re.compile(r"^(?:(?:litellm\.)?(?:\w*(?:Error|Exception|Timeout)\b ?)+[:-]|[A-Z_]+ -)\s*")
"""The class names litellm puts before the provider's words, once per layer; and Google's name of the status."""

_SENTENCES = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")

_ADVICE = re.compile(
    r"litellm\.|drop_params|allowed_openai_params|Give Feedback|Original exception:|Traceback \(|site-packages",
    re.IGNORECASE,
)
"""What a sentence of litellm's about litellm holds; the first ends what is worth telling."""


def told(error: Exception, caller: Caller, stall: float) -> BackendError:
    """The error that `error`, raised by litellm, means to `caller`, who bears a silence of `stall` seconds."""
    causes = list(_chain(error))
    for cause in causes:
        if type(cause).__name__.endswith("HTTPStatusError"):  # httpx's, or litellm's heir of it
            return _refusal(getattr(cause, "response", None), caller, too_long=_is_too_long(causes))
    for cause in causes:
        if isinstance(cause, aiohttp.ClientError):
            return caller.exception(cause, stall)
    status = int(getattr(error, "status_code", None) or 500)
    return caller.status(status, {}, _words(error).encode())


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = getattr(error, "original_exception", None) or error.__cause__ or error.__context__


def _refusal(response: Any, caller: Caller, *, too_long: bool) -> BackendError:
    body: bytes = response.content
    if too_long:
        body = f"context window exceeded: {said(body)}".encode()
    return caller.status(response.status_code, response.headers, body)


def _is_too_long(causes: list[BaseException]) -> bool:
    """litellm knows how each provider says it."""
    return any(type(cause).__name__ == "ContextWindowExceededError" for cause in causes)


def _words(error: Exception) -> str:
    """What went wrong, without litellm's own words."""
    cause = getattr(error, "original_exception", None) or error
    text = str(getattr(cause, "message", cause))[: 10 * MAX_TEXT].strip()
    while text != (inner := _WRAPPING.sub("", text, count=1)):
        text = inner
    sentences = _SENTENCES.split(text)
    kept = [*takewhile(lambda sentence: not _ADVICE.search(sentence), sentences)]
    words = " ".join(kept)
    if len(kept) < len(sentences) and words.endswith(".."):  # its advice follows a full stop of its own
        words = words[:-1]
    return words or type(cause).__name__
