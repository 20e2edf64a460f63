"""A server at an address, over Streamable HTTP. Imported with mcp, in a thread."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from massgen.config.tools import McpServer
from massgen.toolbox.results import MAX_RESULT


class Refusals:
    """The last HTTP status that was an error: mcp says only that there was one."""

    def __init__(self) -> None:
        self._status = 0

    def seen(self, status: int) -> None:
        self._status = status if status >= HTTPStatus.BAD_REQUEST else 0

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
    """The streams of the server at `settings.url`. mcp follows redirects within its origin alone, so headers stay there."""

    async def seen(response: httpx2.Response) -> None:
        refusals.seen(response.status_code)
        response.headers.pop("content-encoding", "")  # none was accepted: what is packed may be of any size
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _Bounded(response.stream)  # of events mcp bounds each

    given = {name: value.get_secret_value() for name, value in settings.headers.items()}
    client = httpx2.AsyncClient(
        headers={"accept-encoding": "identity", **given},
        timeout=httpx2.Timeout(30, read=None),  # for a reply, each call has its own limit
        event_hooks={"response": [seen]},
    )
    talk = streamable_http_client(settings.url, http_client=client, max_sse_event_size=MAX_RESULT)
    async with client, talk as streams:
        yield streams
