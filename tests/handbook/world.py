"""The world that pages run in: every provider's host leads to one scripted simulator on loopback, and no other host exists.

Programs reach it as they reach the internet through a proxy: real addresses, real TLS (by a certificate authority of our own,
`SSL_CERT_FILE`), real clients. `python -m tests.handbook.world FOLDER` is the world as a process; it ends when its stdin does.
"""

import asyncio
import json
import os
import ssl
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import aiohttp
import trustme
from aiohttp import web
from yarl import URL

from massgen.backends.providers import PROVIDERS
from tests.providers import Simulator, Team
from tests.providers.policy import Call, Reply, call, fault, say

REPLIES = Path(__file__).with_name("replies.toml")
GATEWAY_HOSTS = ("api.anthropic.com", "generativelanguage.googleapis.com", "example.openai.azure.com")
HOSTS = tuple(
    sorted({*(URL(row.base_url).host or "" for row in PROVIDERS.values() if "https" in row.base_url), *GATEWAY_HOSTS})
)
MODELS = ("my-model", "llama3.2")
"""What local servers list."""
STEP = 0.04
"""Seconds that a reply takes."""

ACTS = frozenset({"new_answer", "vote", "submit", "restart_orchestration"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An entry of `replies.toml`, which explains the fields."""

    answer: str = ""
    answers: Mapping[str, str] = field(default_factory=dict[str, str])
    calls: Sequence[Mapping[str, Any]] = ()
    final_calls: Sequence[Mapping[str, Any]] = ()
    votes: Mapping[str, str] = field(default_factory=dict[str, str])
    delays: Mapping[str, float] = field(default_factory=dict[str, float])
    takes: float = 0
    votes_take: float = 0
    status: int = 0
    message: str = ""

    def reply(self, asked: Call) -> Reply:
        """The tool that is due in this turn, or else the act that ends it."""
        final = not asked.schema and not ACTS & asked.tools.keys()
        due = self.final_calls if final else self.calls if "vote" not in asked.tools else ()
        due = [each for each in due if each.get("by", asked.model) == asked.model]
        made = sum(message["role"] == "tool" for message in asked.messages)  # so both of OpenAI's wires tell it
        if made < len(due):
            return _used(asked, due[made]["tool"], due[made].get("arguments", {}))
        if final and asked.tools:
            return say(self.answer)
        team = Team(answer=self.answers.get(asked.model, self.answer), final=self.answer, votes=self.votes)
        team.answered.add(asked.agent)  # so that it votes where it may
        return team(asked)

    def delay(self, asked: Call) -> float:
        return (self.votes_take if "vote" in asked.tools else self.takes) or self.delays.get(asked.model, STEP)


def _used(asked: Call, name: str, arguments: Mapping[str, Any]) -> Reply:
    if name in asked.tools:
        return call(name, **arguments)
    offered = ", ".join(asked.tools) or "none"
    return fault(status=418, message=f"tests/handbook/replies.toml calls {name}, which is not offered here: {offered}")


@dataclass(frozen=True, slots=True)
class Book:
    """A team for each question of `replies.toml`: its agents use tools, answer, vote where they can, and present."""

    questions: Mapping[str, Told]

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises `TypeError` for a key that means nothing."""
        return cls({question: Told(**entry) for question, entry in tomllib.loads(text).items()})

    def __call__(self, asked: Call) -> Reply:
        told = self._asked(json.dumps(asked.messages, ensure_ascii=False))
        if told is None:
            return fault(status=418, message="tests/handbook/replies.toml has no such question")
        if told.status:
            return fault(status=told.status, message=told.message)
        return replace(told.reply(asked), input_tokens=310, output_tokens=42, delay=told.delay(asked))

    def _asked(self, text: str) -> Told | None:
        """The entry of the question that comes last in the conversation, and of such that hold each other the longest."""
        said = {question: json.dumps(question, ensure_ascii=False)[1:-1] for question in self.questions}
        ends = {question: (text.rfind(each) + len(each), len(each)) for question, each in said.items() if each in text}
        return self.questions[max(ends, key=ends.__getitem__)] if ends else None


@dataclass(slots=True)
class World:
    """`async with World(folder)`: its authority's certificate is kept in `folder`."""

    folder: Path
    refused: list[str] = field(default_factory=list[str])
    """Hosts that something tried to reach and that do not exist here."""
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _proxy_port: int = 0
    _front_port: int = 0
    _base_url: str = ""

    async def __aenter__(self) -> Self:
        book = Book.read(REPLIES.read_text("utf-8"))
        simulator = await self._stack.enter_async_context(Simulator(book, models=MODELS))
        self._base_url = simulator.base_url
        await self._front()
        proxy = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self._stack.callback(proxy.close)
        self._proxy_port = proxy.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def environment(self) -> dict[str, str]:
        """The variables by which a program comes to live here."""
        proxy, local = f"http://127.0.0.1:{self._proxy_port}", self._base_url
        certificate = str(self.folder / "authority.pem")
        servers = {name: local for row in PROVIDERS.values() if row.lists_models for name in row.url_variables}
        return {
            **servers, "HTTPS_PROXY": proxy, "https_proxy": proxy, "HTTP_PROXY": proxy, "http_proxy": proxy,
            "SSL_CERT_FILE": certificate, "NO_PROXY": "127.0.0.1,localhost", "MASSGEN_BASE_URL": local,
            "MASSGEN_MODEL": "my-model", "MASSGEN_API_KEY": "sk-massgen_api_key", "MY_API_KEY": "sk-my_api_key",
        }  # fmt: skip

    async def _front(self) -> None:
        """All the providers at once: TLS ends here, and what is before `/v1` in a path goes."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.folder / "authority.pem"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS).configure_cert(context)
        client = await self._stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        app = web.Application(client_max_size=64 * 2**20)

        async def forward(request: web.Request) -> web.StreamResponse:
            return await _forwarded(request, client, URL(self._base_url).origin())

        app.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        self._front_port = runner.addresses[0][1]

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):  # a client that thought better of it
            writer.close()
            return
        method, target, *_ = head.decode("latin-1").split()
        host = target.rpartition(":")[0] if method == "CONNECT" else target
        if method != "CONNECT" or host not in HOSTS:
            self.refused.append(host)
            writer.write(
                b"HTTP/1.1 403 this host does not exist here\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            writer.close()
            return
        there = await asyncio.open_connection("127.0.0.1", self._front_port)
        writer.write(b"HTTP/1.1 200 connected\r\n\r\n")
        await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))


async def _forwarded(request: web.Request, client: aiohttp.ClientSession, origin: URL) -> web.StreamResponse:
    path = request.raw_path
    for prefix in ("/openai/v1", "/api/v1", "/inference/v1", "/api/paas/v4"):
        path = path.replace(prefix, "/v1", 1) if path.startswith(prefix) else path
    headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
    url = URL(f"{origin}{path}", encoded=True)
    try:
        return await _copied(request, client.request(request.method, url, headers=headers, data=await request.read()))
    except aiohttp.ClientError:  # the world ends while someone still waits for a reply
        return web.Response(status=502)


async def _copied(request: web.Request, asking: Any) -> web.StreamResponse:
    async with asking as reply:
        kept = {
            name: reply.headers[name]
            for name in reply.headers
            if name.lower() not in ("transfer-encoding", "connection")
        }
        response = web.StreamResponse(status=reply.status, headers=kept)
        await response.prepare(request)
        async for block in reply.content.iter_any():
            await response.write(block)
        await response.write_eof()
        return response


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, OSError):
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
    writer.close()


async def _main(folder: Path) -> None:
    async with World(folder) as world:
        print(json.dumps(world.environment()), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        print(json.dumps({"refused": world.refused}), flush=True)


if __name__ == "__main__":
    os.environ.pop("HTTPS_PROXY", None)
    asyncio.run(_main(Path(sys.argv[1])))
