"""The simulator's server: it reads calls, asks the policy, writes the reply, and records every request."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

from tests.providers import chat
from tests.providers.policy import Call, Fault, Policy, Reply
from tests.providers.routes import Place, find
from tests.providers.wires import Asked, Refused, Wire, rendered


@dataclass(slots=True)
class Record:
    """One request: when it came and ended (seconds of a monotonic clock), on which connection, and what it said."""

    method: str
    path: str
    headers: Mapping[str, str]
    connection: int
    """The client's port."""
    received: float
    size: int = 0
    """Bytes of the body."""
    body: Any = None
    wire: str = ""
    """The API that was called; empty where the request asked for no completion."""
    call: Call | None = None
    status: int = 0
    ended: float | None = None
    disconnected: bool = False
    """The client went away before the reply had ended."""


class Simulator:
    """A model server on a loopback port, for as long as the `async with` block runs."""

    def __init__(
        self,
        policy: Policy,
        *,
        prefix: str = "",
        keys: frozenset[str] | set[str] = frozenset(),
        models: tuple[str, ...] = ("simulated",),
        port: int = 0,
    ) -> None:
        self.requests: list[Record] = []
        self._policy, self._prefix, self._keys, self._models, self._port = policy, prefix, keys, models, port
        self._closing = asyncio.Event()
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        """Where all the APIs are."""
        return f"http://127.0.0.1:{self._port}{self._prefix}"

    @property
    def base_url(self) -> str:
        """Where the APIs in OpenAI's words are."""
        return f"{self.url}/v1"

    def address(self, kind: str) -> str:
        """The `base_url` of a backend of type `kind`, as a configuration says it."""
        return {"claude": self.url, "azure_openai": self.url, "gemini": f"{self.url}/v1beta"}.get(kind, self.base_url)

    @property
    def calls(self) -> list[Record]:
        """The requests that asked for a completion."""
        return [record for record in self.requests if record.wire]

    @property
    def connections(self) -> set[int]:
        return {record.connection for record in self.requests}

    def summary(self) -> dict[str, int]:
        """What a benchmark wants to know."""
        calls = self.calls
        gone = sum(record.disconnected for record in calls)
        sizes = sum(record.size for record in calls)
        return {"calls": len(calls), "connections": len(self.connections), "bytes": sizes, "disconnected": gone}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition`, which may look at the records, holds."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/_requests", self._summary)
        app.router.add_delete("/_requests", self._forget)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self._runner.cleanup()

    async def _summary(self, _: web.Request) -> web.Response:
        return web.json_response(self.summary())

    async def _forget(self, _: web.Request) -> web.Response:
        self.requests.clear()
        return web.Response(status=204)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        port = request.transport.get_extra_info("peername")[1] if request.transport else 0
        record = Record(request.method, request.path, dict(request.headers), port, time.monotonic())
        self.requests.append(record)
        try:
            response = await self._answer(request, record)
            record.status = response.status
        except (asyncio.CancelledError, ConnectionError):
            record.disconnected = not self._closing.is_set()
            raise
        finally:
            record.ended = time.monotonic()
            await self._notify()
        return response

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _answer(self, request: web.Request, record: Record) -> web.StreamResponse:
        content = await request.read()
        record.size = len(content)
        headers = {name.lower(): value for name, value in request.headers.items()}
        path = request.path.removeprefix(self._prefix) if request.path.startswith(self._prefix) else ""
        place = find(request.method, path, headers)
        if place is None:
            return _refusal(chat.WIRE, Fault("status", 404, message=f"no such path: {request.path}"))
        record.wire = "" if place.what == "models" else place.wire.name
        try:
            key = self._key(place.wire, headers, request.query)
            if place.what == "models":
                return _json(place.wire.models(self._models))
            record.body = json.loads(content)
            asked = Asked(record.body, headers, request.query, key, place.model, place.what == "stream")
            record.call = place.wire.parse(asked)
        except Refused as refused:
            return _refusal(place.wire, refused.fault)
        except (ValueError, LookupError, TypeError, AttributeError) as problem:
            return _refusal(place.wire, Fault("status", 400, message=f"not a request: {problem!r}"))
        return await self._complete(request, place, record.call)

    def _key(self, wire: Wire, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        key = wire.key(headers, query)
        if (self._keys and key not in self._keys) or (wire.needs_key and not key):
            raise wire.no_key
        return key

    async def _complete(self, request: web.Request, place: Place, asked: Call) -> web.StreamResponse:
        await self._notify()
        reply = self._policy(asked)
        if reply.gate:
            await reply.gate.wait()
        if reply.delay:
            await asyncio.sleep(reply.delay)
        headers, fault = place.wire.headers(reply.limits, reply.fault and reply.fault.retry_after), reply.fault
        if fault and fault.kind in ("status", "raw"):
            return _refusal(place.wire, fault, headers)
        if fault and not fault.after:
            return await self._break(request, fault, web.Response())
        if not (asked.stream and reply.streamed):
            return _json(place.wire.document(asked.model, reply), headers=headers)
        if place.what == "stream" and request.query.get("alt") != "sse":
            return _json([place.wire.document(asked.model, reply)], headers=headers)
        return await self._stream(request, place.wire, asked, reply)

    async def _stream(self, request: web.Request, wire: Wire, asked: Call, reply: Reply) -> web.StreamResponse:
        events = rendered(wire, asked.model, asked.include_usage, reply)
        kind = {"content-type": "text/event-stream", "cache-control": "no-cache"}
        response = web.StreamResponse(headers={**kind, **wire.headers(reply.limits, None)})
        await response.prepare(request)
        if reply.fault:
            await response.write(b"".join(events[: reply.fault.after]))
            if reply.fault.kind != "broken":
                return await self._break(request, reply.fault, response)
            await response.write(wire.broken(reply.fault))
        elif reply.chunk_delay:
            await response.write(events[0])
            for event in events[1:-1]:
                await asyncio.sleep(reply.chunk_delay)
                await response.write(event)
            await response.write(events[-1])
        else:
            await response.write(b"".join(events))
        await response.write_eof()
        return response

    async def _break(self, request: web.Request, how: Fault, response: web.StreamResponse) -> web.StreamResponse:
        """Say no more: drop the connection, or keep it open in silence until either side closes it."""
        if how.kind == "hang":
            await self._closing.wait()
        if request.transport:
            request.transport.close()
        return response


def _refusal(wire: Wire, fault: Fault, headers: Mapping[str, str] | None = None) -> web.Response:
    """What the fault says, or else the wire's words for it."""
    said = {**(headers or wire.headers(None, None)), "content-type": "application/json", **dict(fault.headers)}
    body = json.dumps(wire.error(fault), indent=wire.indent).encode() if fault.body is None else fault.body
    return web.Response(status=fault.status, headers=said, body=body)


def _json(body: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(body, headers=headers)
