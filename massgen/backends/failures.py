"""What a failed HTTP call to a model means, in words: from a status, an exception or an error object to `BackendError`."""

import errno
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from massgen.backends.sse import is_object
from massgen.errors import BackendError, HttpReply

MAX_TEXT = 300
"""Characters of a server's words that are worth showing."""

_TRANSIENT = frozenset({408, 409, 425, 429})
_TOO_LONG = re.compile(r"context[ _](length|window|size)|maximum context|prompt is too long", re.IGNORECASE)
_SPENT = re.compile(r"insufficient_quota|billing|insufficient (funds|credit|balance)", re.IGNORECASE)
_WRONG_KEY = re.compile(rb"API_KEY_INVALID|invalid_api_key|incorrect api key", re.IGNORECASE)
"""How a wrong key is told with a status other than 401: by Google and by xAI."""
_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"')
"""How Google says when to try again: https://cloud.google.com/apis/design/errors#error_details"""

_FIXES = {
    400: "Correct the model's settings in the configuration.",
    402: "Add credit at the provider, or choose another model.",
    403: "The key may not use this model: ask the provider for access, or choose another.",
    404: "Check `model` and `base_url` in the configuration.",
    405: "Check `base_url` in the configuration.",
    422: "Correct the model's settings in the configuration.",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls where: what an error needs to say, and the key it must not."""

    model: str
    base_url: str
    key: str = field(default="", repr=False)
    key_name: str = ""
    """The environment variable the key is from, if known."""
    key_page: str = ""
    """Where keys are made, if known."""

    def error(
        self,
        what: str,
        *,
        fix: str = "",
        transient: bool = False,
        retry_after: float | None = None,
        reply: HttpReply | None = None,
    ) -> BackendError:
        where = f"{self.model} at {self.base_url}" if self.model else self.base_url
        return BackendError(what, where=where, fix=fix, transient=transient, retry_after=retry_after, reply=reply)

    def line(self, text: str) -> str:
        """`text` on one line, bounded, without the key."""
        if len(self.key) >= 8:  # a shorter one is a stand-in, and part of other words
            text = text.replace(self.key, "***")
        words = " ".join(text[: 10 * MAX_TEXT].split())
        return words if len(words) <= MAX_TEXT else f"{words[:MAX_TEXT]}..."

    def status(self, status: int, headers: Mapping[str, str], body: bytes) -> BackendError:
        """The error of a response other than 200."""
        if 300 <= status < 400:
            place = self.line(headers.get("location", "nowhere").partition("?")[0])
            return self.error(f"redirected to {place} (status {status})", fix="Set `base_url` to the new place.")
        words, delay = said(body), _delay(body)
        too_long, spent = _TOO_LONG.search(words), status == 429 and delay is None and _SPENT.search(words)
        transient = (status in _TRANSIENT or (status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED)) and not (
            too_long or spent
        )
        return self.error(
            f"{self.line(words) or _reason(status)} (status {status})",
            fix="" if transient else _SHORTEN if too_long else self._fix(402 if spent else status, body),
            transient=transient,
            retry_after=_first(retry_after(headers, time.time()), delay) if transient else None,
            reply=HttpReply(status, headers, body[: 2**16]),
        )

    def _fix(self, status: int, body: bytes) -> str:
        if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.BAD_REQUEST and _WRONG_KEY.search(body)):
            page = f" Keys are made at {self.key_page}." if self.key_page else ""
            return f"Check {self.key_name or '`api_key` in the configuration'}.{page}"
        return _FIXES.get(status, "")

    def event(self, error: Any) -> BackendError:
        """The error of an error object inside a stream; its `code` is the status, where it is a number."""
        code = error.get("code") if is_object(error) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        return self.status(status, {}, json.dumps({"error": error}).encode())

    def exception(self, error: Exception, stall: float) -> BackendError:
        """The error of an exception that aiohttp raised; `stall` is the silence allowed, in seconds."""
        what, fix = _REFUSED if _refused(error) else next(row[1:] for row in _EXCEPTIONS if isinstance(error, row[0]))
        said = what.format(error=error, stall=stall)
        return self.error(self.line(said), fix=fix, transient=not isinstance(error, _FINAL))


_REFUSED = ("{error.host}:{error.port} refused the connection", "Is the server running?")
_EXCEPTIONS: tuple[tuple[type[Exception], str, str], ...] = (
    (aiohttp.ClientSSLError, "the secure connection failed: {error}", "Check `base_url`, and SSL_CERT_FILE."),
    (aiohttp.ClientConnectorDNSError, "the name {error.host} cannot be resolved", "Check `base_url` and the network."),
    (aiohttp.ClientHttpProxyError, "the proxy answered with status {error.status}", "Check the proxy's variables."),
    (aiohttp.ClientConnectorError, "cannot connect: {error}", ""),
    (aiohttp.ConnectionTimeoutError, "the server did not accept the connection in time", ""),
    (TimeoutError, "the server was silent for {stall:g} s", ""),
    (aiohttp.ServerDisconnectedError, "the connection was closed without a reply", ""),
    (aiohttp.ClientPayloadError, "the reply was cut off", ""),
    (OSError, "the connection broke: {error}", ""),
    (Exception, "the exchange failed: {error}", ""),
)
"""Exception, what it means, what to do; the first that fits."""
_FINAL = (aiohttp.ClientSSLError, aiohttp.ClientHttpProxyError, ValueError)
"""These do not pass by themselves."""


def _refused(error: Exception) -> bool:
    """Whether nobody listens there; a name with several addresses is refused at each, in one exception for all."""
    return isinstance(error, aiohttp.ClientConnectorError) and f"[Errno {errno.ECONNREFUSED}]" in str(error.os_error)


_SHORTEN = "Shorten the question or the answers, or choose a model with a longer context."


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "refused"


def said(body: bytes) -> str:
    """What an error's body says: the message in it, with its code, or the text itself; a page says only its title."""
    text = body.decode("utf-8", "replace").strip()
    try:
        return _message(json.loads(text))
    except (ValueError, RecursionError):
        pass
    if not text.startswith("<"):
        return text
    title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    return title[1] if title else ""


def _message(value: Any) -> str:
    """The message in the shapes that servers give it: OpenAI, FastAPI (`detail`), Gemini (a list of one), plain text."""
    match value:
        case [first, *_]:
            return _message(first)
        case {"error": {} as inner}:
            return _message(inner)
        case {"message": str() as text, "code": str() as code} if code not in text and not code.isdigit():
            return f"{text} ({code})"
        case {"message": str() as text} | {"error": str() as text} | {"detail": str() as text} | str(text):
            return text
        case _:
            return json.dumps(value)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, from `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110, 10.2.3)."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "")
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _delay(body: bytes) -> float | None:
    """Seconds to wait, as an error's body says it. With them even a quota that is used up is whole again by itself."""
    found = _DELAY.search(body)
    return float(found[1]) if found else None


def _first(*seconds: float | None) -> float | None:
    return next((each for each in seconds if each is not None), None)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
