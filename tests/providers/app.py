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
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self._prefix}/v1"

    @property
    def calls(self) -> list[Record]:
        """The requests that asked for a completion."""
        return [record for record in self.requests if record.path.endswith(chat.PATH)]

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
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._keys and key not in self._keys:
            return _json(chat.error(f"Incorrect API key provided: {key}."), 401)
        match request.method, request.path.removeprefix(f"{self._prefix}/v1"):
            case "GET", "/models":
                return _json(chat.models(self._models))
            case "POST", chat.PATH:
                return await self._complete(request, record, content, key)
            case _:
                return _json(chat.error(f"no such path: {request.path}"), 404)

    async def _complete(self, request: web.Request, record: Record, content: bytes, key: str) -> web.StreamResponse:
        try:
            record.body = json.loads(content)
            record.call = chat.parse(record.body, key)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            return _json(chat.error(f"not a request: {problem!r}"), 400)
        await self._notify()
        reply = self._policy(record.call)
        if reply.gate:
            await reply.gate.wait()
        if reply.delay:
            await asyncio.sleep(reply.delay)
        return await self._say(request, record.call, reply)

    async def _say(self, request: web.Request, asked: Call, reply: Reply) -> web.StreamResponse:
        match reply.fault:
            case Fault("status" | "raw", status, headers, body):
                return web.Response(status=status, headers=dict(headers), body=body)
            case Fault(after=0):
                return await self._break(request, reply.fault, web.Response())
            case _ if not (asked.stream and reply.streamed):
                return _json(chat.document(asked, reply))
            case _:
                pass
        return await self._stream(request, asked, reply)

    async def _stream(self, request: web.Request, asked: Call, reply: Reply) -> web.StreamResponse:
        events = chat.events(asked.model, asked.include_usage, reply)
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
        await response.prepare(request)
        if reply.fault:
            await response.write(b"".join(events[: reply.fault.after]))
            return await self._break(request, reply.fault, response)
        if reply.chunk_delay:
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


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
