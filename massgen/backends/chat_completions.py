"""Any server that speaks OpenAI's chat completions, reached directly: no SDK, one pool of connections for all agents."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from massgen.backends import Request
from massgen.backends.failures import Caller
from massgen.backends.sse import MAX_REPLY, BadReply, EventReader, json_object
from massgen.backends.transport import HttpPool, drain, whole
from massgen.backends.wire import CHAT, Decoding, Offered, WireFormat, merged, wire_messages, wire_tools
from massgen.errors import UsageError
from massgen.messages import Chunk

__all__ = ["ChatCompletions", "HttpPool", "wire_messages", "wire_tools"]

MAX_ERROR_BODY = 64 * 2**10
MAX_LISTING = 4 * 2**20


class ChatCompletions:
    """The model `model` at `base_url` (up to and without `/chat/completions`); without a name, the first it lists.

    `options` are fields of the request (left out where None): `temperature`, ..., `tools` of the provider's own, which
    come after ours, and `extra_body`, whose fields are sent as they are. A silence of `stall_timeout` seconds breaks a
    call off. `key_name` is the variable that `api_key` is from, for error messages. `wire` is the format; the Responses
    API is another. Raises `UsageError` for an address or a key that cannot be one.
    """

    def __init__(
        self,
        pool: HttpPool,
        *,
        base_url: str,
        model: str = "",
        api_key: str | None = None,
        key_name: str = "",
        options: Mapping[str, Any] | None = None,
        stall_timeout: float = 120.0,
        wire: WireFormat = CHAT,
    ) -> None:
        self._pool, self._stall, self._url, self._wire = pool, stall_timeout, _url(base_url), wire
        key = (api_key or "").strip()
        if not key.isascii() or not key.isprintable():
            raise UsageError(f"the key in {key_name or 'api_key'} has characters that no key has", fix="Copy it again.")
        self._caller = Caller(model, str(self._url.with_user(None).with_query(None)), key, key_name)
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        given: dict[str, Any] = {name: value for name, value in (options or {}).items() if value is not None}
        extra: Mapping[str, Any] = given.pop("extra_body", {})
        self._options = merged(given, extra)
        self._asking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"ChatCompletions({self.model!r}, {self._caller.base_url!r})"

    @property
    def model(self) -> str:
        """Empty before the first call, where the server is to say which models it has."""
        return self._caller.model

    async def aclose(self) -> None:
        """Nothing is held: the connections are the pool's."""

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        await self._find_model()
        body = self._wire.body(request, self.model, self._options)
        decoder = self._wire.decoder()
        ours = Offered(frozenset(tool.name for tool in request.tools)) if "tools" in self._options else None
        async with (
            self._sent("POST", self._wire.path, body) as response,
            aclosing(_batches(response, decoder, self._wire.holds)) as batches,
        ):
            request.accepted(response.headers)
            async for events in batches:
                for chunk in self._chunks(events, decoder):
                    if ours is None or ours.keeps(chunk):
                        yield chunk
        for chunk in decoder.end():
            yield chunk

    def _chunks(self, events: Iterable[Mapping[str, Any]], decoder: Decoding) -> Iterator[Chunk]:
        for event in events:
            if error := decoder.error(event):
                raise self._caller.event(error)
            yield from decoder.chunks(event)

    async def _find_model(self) -> None:
        """Ask the server for its models if none was named; once."""
        async with self._asking:
            if self.model:
                return
            async with self._sent("GET", "models", None) as response:
                listing = json_object(await whole(response, MAX_LISTING))
            match listing:
                case {"data": [{"id": str() as name}, *_]}:
                    self._caller = replace(self._caller, model=name)
                case _:
                    raise self._caller.error("the server lists no models", fix="Load one there, or name it in `model`.")

    @asynccontextmanager
    async def _sent(self, method: str, path: str, body: bytes | None) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The response, if its status is 200; every failure of its use is a `BackendError`."""
        url = (self._url / path).with_query(self._url.query)
        try:
            async with self._pool.request(method, url, self._headers, body, self._stall) as response:
                await self._check(response)
                yield response
        except BadReply as problem:
            raise self._caller.error(self._caller.line(str(problem)), transient=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # `from None`: aiohttp's exceptions hold the request's headers, and those the key.
            raise self._caller.exception(error, self._stall) from None

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status != HTTPStatus.OK:
            body = await whole(response, MAX_ERROR_BODY)
            raise self._caller.status(response.status, response.headers, body)
        if response.content_type == "text/html":
            raise self._caller.error("the server answered with a web page", fix="Check `base_url`.")


async def _batches(
    response: aiohttp.ClientResponse, decoder: Decoding, holds: str
) -> AsyncGenerator[Iterable[dict[str, Any]]]:
    """The events of a reply, those of each network read at once, to be put through `decoder` before the next.

    Raises `BadReply` if the reply ends too early: neither a `finish_reason` nor `[DONE]` has come.
    """
    if response.content_type == "application/json":  # the server does not stream
        yield [_document(await whole(response, MAX_REPLY), holds)]
        return
    reader = EventReader()
    while not reader.done:
        block = await _next_block(response, complete=bool(decoder.finish))
        yield reader.events(block)
        if block is None:
            break
    await drain(response)
    if not (decoder.finish or reader.done):
        raise BadReply("the reply was cut off")


async def _next_block(response: aiohttp.ClientResponse, *, complete: bool) -> bytes | None:
    """The next bytes, None at the end. What goes wrong after a `complete` reply does not matter: it would be paid twice."""
    try:
        return await response.content.readany() or None
    except (aiohttp.ClientError, OSError):
        if complete:
            return None
        raise


def _document(body: bytes, holds: str) -> dict[str, Any]:
    document = json_object(body)
    if holds not in document and "error" not in document:
        raise BadReply(f"the reply has no `{holds}`, only {', '.join(document) or 'nothing'}")
    return document


def _url(base_url: str) -> URL:
    try:
        url = URL(base_url.strip())
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        shown = base_url if "@" not in base_url else "the given one"
        raise UsageError(f"base_url {shown!r} is not an http or https address", fix="Write http://HOST:PORT/v1, say.")
    return url
