"""A server at an address, over Streamable HTTP. Imported with mcp, in a thread."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from massgen.config.tools import McpServer
from massgen.toolbox.results import MAX_RESULT

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""Of a header: https://www.rfc-editor.org/rfc/rfc9110#name-tokens"""
_NO_REPLY = "Server returned an error response"
"""mcp's words for a status without one."""


class Refusals:
    """The last HTTP status that was an error, of what was asked: mcp says only that there was one."""

    def __init__(self) -> None:
        self._status, self._in_session = 0, False

    def seen(self, response: httpx2.Response) -> None:
        if response.request.method == "POST":  # not the stream of announcements, which servers need not have
            self._status = response.status_code if response.status_code >= HTTPStatus.BAD_REQUEST else 0
            self._in_session = "mcp-session-id" in response.request.headers

    def forgotten(self, said: str) -> bool:
        """Whether the server `said`, as the specification has it, that it does not know the session, and so did not look at
        what was asked. Both have to tell: the status may be that of another call at the same time."""
        return self._in_session and self._status == HTTPStatus.NOT_FOUND and "session" in said.lower()

    def of_session(self, said: str) -> bool:
        """Whether it may have `said` so in its own way: the reference servers do by 400, without a reply that is one."""
        words = said == _NO_REPLY or "session" in said.lower()
        return self._in_session and self._status == HTTPStatus.BAD_REQUEST and words

    @property
    def advice(self) -> str:
        """What to do where a server refuses to start so."""
        match self._status:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return "; it wants a key in `headers`, or another than it was given"
            case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
                return "; is that its address of Streamable HTTP? massgen does not speak the older HTTP+SSE"
            case _:
                return ""

    def __str__(self) -> str:
        if not self._status:
            return ""
        known = self._status in [*HTTPStatus]
        return f"HTTP {self._status} {HTTPStatus(self._status).phrase if known else ''}".strip()


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends in an error once it is larger than a result may be."""

    def __init__(self, body: Any) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._body:
            size += len(chunk)
            if size > MAX_RESULT:
                raise httpx2.StreamError(f"it was larger than {MAX_RESULT >> 20} MB")
            yield chunk

    async def aclose(self) -> None:
        await self._body.aclose()


@asynccontextmanager
async def address(settings: McpServer, refusals: Refusals) -> AsyncGenerator[tuple[Any, Any]]:
    """The streams of the server at `settings.url`. mcp follows redirects within its origin alone, so headers stay there.

    Raises `ValueError` for a header that cannot be sent: httpx's own error would show its value."""

    async def seen(response: httpx2.Response) -> None:
        refusals.seen(response)
        response.headers.pop("content-encoding", "")  # none was accepted: what is packed may be of any size
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _Bounded(response.stream)  # of events mcp bounds each

    given = {name: value.get_secret_value() for name, value in settings.headers.items()}
    for name, value in given.items():
        if not _NAME.fullmatch(name) or not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ValueError(
                f"its header {name[:40]!r} holds a line break, an outer space or another character that none may hold"
            )
    client = httpx2.AsyncClient(
        headers={"accept-encoding": "identity", **given},
        timeout=httpx2.Timeout(30, read=None),  # for a reply, each call has its own limit
        event_hooks={"response": [seen]},
    )
    talk = streamable_http_client(settings.url, http_client=client, max_sse_event_size=MAX_RESULT)
    async with client, talk as streams:
        yield streams
