"""MCP servers at an address: one of mcp's own that wants a header, and some that misbehave."""

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from aiohttp import web
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from massgen.config.tools import McpServer
from massgen.toolbox import Returned
from massgen.toolbox.agent import agent_toolbox
from massgen.toolbox.client import MAX_DEAF
from massgen.toolbox.servers import Servers

ANY: dict[str, Any] = {"type": "object", "properties": {}}


def multiply(a: int, b: int) -> int:
    """Multiplies two numbers."""
    return a * b


def wants_key(app: ASGIApp, key: str) -> ASGIApp:
    """`app`, for those who send `key` alone."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers", ())).get(b"x-key", b"").decode()
        if scope["type"] == "http" and given != key:
            await PlainTextResponse("who are you?", 401)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


@asynccontextmanager
async def mcps_own(key: str, port: int = 0) -> AsyncGenerator[int]:
    """A server with mcp's own side of the protocol, on loopback; its port."""
    server = MCPServer("adder")

    @server.tool()
    def add(a: int, b: int) -> int:  # pyright: ignore[reportUnusedFunction]
        """Adds two numbers."""
        return a + b

    @server.tool()
    async def learn(ctx: Context) -> None:  # pyright: ignore[reportUnusedFunction]
        """Learns to multiply, and forgets to add."""
        server.remove_tool("add")
        server.add_tool(multiply)
        await ctx.notify_tools_changed()

    async with listening(wants_key(server.streamable_http_app(), key), port) as served:
        yield served


@asynccontextmanager
async def listening(app: ASGIApp, port: int = 0) -> AsyncGenerator[int]:
    """The port on which `app` is served."""
    listener = socket.create_server(("127.0.0.1", port))
    running = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    task = asyncio.create_task(running.serve([listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        running.should_exit = True
        await task


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncGenerator[str]:
    """The address at which `answer` answers all."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def by_hand(handle: Callable[[dict[str, Any]], Awaitable[web.Response]]) -> AsyncGenerator[str]:
    """A server of which `handle` answers every call of a tool; its address."""

    async def answer(request: web.Request) -> web.StreamResponse:
        message: dict[str, Any] = await request.json() if request.method == "POST" else {}
        match str(message.get("method")):
            case "initialize":
                info = {"name": "by hand", "version": "1"}
                result: dict[str, Any] = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}},
                    "serverInfo": info,
                }
            case "tools/list":
                result = {"tools": [{"name": "use", "inputSchema": ANY}, {"name": "broken", "inputSchema": 1}]}
            case "tools/call":
                return await handle(message)
            case "notifications/initialized":
                return web.Response(status=202)
            case _:
                return web.Response(status=405)
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})

    async with serving(answer) as url:
        yield url


async def used(url: str, notes: list[str], times: int = 1, **settings: Any) -> list[Returned]:
    """What calls of the server's one tool return."""
    async with Servers(notes.append, pause=lambda restart: 0) as servers:
        tools = agent_toolbox(servers, {"web": McpServer(url=url, **settings)})
        (offered,) = [each.tool.name for each in await tools.offered()]
        return [await tools.call(offered, {}) for _ in range(times)]


async def test_a_server_that_wants_a_header_gets_it_and_its_tools_are_used() -> None:
    async with mcps_own("open sesame") as port, Servers() as servers:
        server = McpServer.model_validate(
            {"type": "streamable-http", "url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Key": "open sesame"}}
        )
        tools = agent_toolbox(servers, {"adder": server})
        offered, _ = await tools.offered()
        assert (offered.tool.name, offered.tool.description) == ("mcp__adder__add", "Adds two numbers.")
        assert (await tools.call("mcp__adder__add", {"a": 2, "b": 3})).content == "5"
        assert (await tools.call("mcp__adder__add", {"a": "two"})).is_error


async def test_a_server_announces_other_tools_by_the_protocol_of_2026_too() -> None:
    async with mcps_own("k") as port, Servers() as servers, asyncio.timeout(5):
        url = f"http://127.0.0.1:{port}/mcp"
        tools = agent_toolbox(servers, {"n": McpServer.model_validate({"url": url, "headers": {"X-Key": "k"}})})
        names = ["mcp__n__add", "mcp__n__learn"]
        assert [each.tool.name for each in await tools.offered()] == names
        await tools.call("mcp__n__learn", {})
        while names == [each.tool.name for each in await tools.offered()]:
            await asyncio.sleep(0.01)
        assert [each.tool.name for each in await tools.offered()] == ["mcp__n__learn", "mcp__n__multiply"]
        assert (await tools.call("mcp__n__multiply", {"a": 2, "b": 3})).content == "6"


async def test_without_the_header_the_error_names_the_status_and_no_secret() -> None:
    notes: list[str] = []
    async with mcps_own("open sesame") as port, Servers(notes.append) as servers:
        server = McpServer.model_validate({"url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Key": "wrong-key"}})
        assert await agent_toolbox(servers, {"adder": server}).offered() == []
    assert "HTTP 401 Unauthorized" in notes[0]
    assert "wrong-key" not in notes[0]


@pytest.mark.parametrize(("status", "way"), [(301, ""), (302, ""), (303, ""), (307, ""), (308, ""), (307, "/there")])
async def test_a_redirect_takes_no_header_to_another_address(status: int, way: str) -> None:
    heard, asked, notes = list[str](), list[str](), list[str]()

    async def other(request: web.Request) -> web.Response:
        heard.append(str(request.headers))
        return web.Response(status=500)

    async with serving(other) as elsewhere:

        async def redirect(request: web.Request) -> web.Response:
            asked.append(f"{request.path} {request.headers['Authorization']}")
            return web.Response(
                status=status, headers={"Location": elsewhere if request.path != "/mcp" else way or elsewhere}
            )

        async with serving(redirect) as url, Servers(notes.append) as servers:
            server = McpServer.model_validate({"url": url, "headers": {"Authorization": "Bearer s3cret"}})
            assert await agent_toolbox(servers, {"moved": server}).offered() == []
    assert heard == []
    assert {*asked} == {f"{path} Bearer s3cret" for path in ("/mcp", way) if path}
    assert len(notes) == 1
    assert f"Redirect to {elsewhere} not followed" in notes[0]
    assert "s3cret" not in notes[0]


async def test_nobody_at_the_address_is_told_and_a_server_that_comes_back_is_used_again() -> None:
    notes: list[str] = []
    async with Servers(notes.append, pause=lambda restart: 0) as servers:
        async with mcps_own("k") as port:
            server = McpServer.model_validate({"url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Key": "k"}})
            tools = agent_toolbox(servers, {"adder": server})
            await tools.offered()
        gone = await tools.call("mcp__adder__add", {"a": 1, "b": 1})
        assert gone.is_error
        assert "the server 'adder' was lost during the call" in gone.content
        assert await agent_toolbox(servers, {"adder": server}).offered() == []
        assert "cannot be started: All connection attempts failed" in notes[0]
        async with mcps_own("k", port):
            assert (await tools.call("mcp__adder__add", {"a": 1, "b": 1})).content == "2"


async def test_a_tool_with_a_broken_schema_costs_no_other_its_place() -> None:
    async def fine(message: dict[str, Any]) -> web.Response:
        return web.json_response(
            {"jsonrpc": "2.0", "id": message["id"], "result": {"content": [{"type": "text", "text": "ok"}]}}
        )

    notes: list[str] = []
    async with by_hand(fine) as url:
        assert await used(url, notes) == [Returned("ok")]
    assert notes == ["the server 'web': the tool 'broken' is left out: its inputSchema is no object"]


async def test_an_error_of_http_costs_one_call_and_says_which_it_was() -> None:
    async def failing(message: dict[str, Any]) -> web.Response:
        return web.Response(status=503)

    async with by_hand(failing) as url:
        first, second = await used(url, [], times=2)
    assert (
        first == second == Returned("Server returned an error response (HTTP 503 Service Unavailable)", is_error=True)
    )


@pytest.mark.parametrize("packed", [False, True])
async def test_a_flood_is_not_taken_in_packed_or_plain(packed: bool) -> None:
    async def flooding(message: dict[str, Any]) -> web.Response:
        part = {"type": "text", "text": "x" * 40_000_000}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [part]}}).encode()
        how = {"content-encoding": "gzip"} if packed else {}
        return web.Response(
            body=gzip.compress(body, 1) if packed else body, content_type="application/json", headers=how
        )

    async with by_hand(flooding) as url:
        (flood,) = await used(url, [])
    assert flood.is_error
    assert ("it was larger than 16 MB" in flood.content) is not packed
    assert len(flood.content) < 2_500


async def test_events_and_other_kinds_of_replies_are_bounded_and_told() -> None:
    replies = iter(["text/event-stream", "text/event-stream", "text/html"])
    sizes = iter([40_000_000, 10, 10])

    async def odd(message: dict[str, Any]) -> web.Response:
        part = {"type": "text", "text": "x" * next(sizes)}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [part]}})
        return web.Response(text=f"event: message\ndata: {body}\n\n", content_type=next(replies))

    async with by_hand(odd) as url:
        flood, fine, page = await used(url, [], times=3)
    assert flood.is_error
    assert "SSE stream failed" in flood.content
    assert fine == Returned("x" * 10)
    assert "Unexpected content type: text/html" in page.content


class Sessions:
    """A server that forgets each session after one call; `how` it says so: the status, and the error's code and words."""

    def __init__(self, how: tuple[int, int, str], *, serves: bool = True) -> None:
        self.begun, self.known, self.done, self._how, self._serves = 0, "", list[str](), how, serves

    async def answer(self, request: web.Request) -> web.StreamResponse:
        message: dict[str, Any] = await request.json() if request.method == "POST" else {}
        match str(message.get("method")):
            case "initialize":
                self.begun += 1
                self.known = str(self.begun) if self._serves else ""
                about: dict[str, Any] = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}  # fmt: skip
                reply = {"jsonrpc": "2.0", "id": message["id"], "result": about}
                return web.json_response(reply, headers={"mcp-session-id": str(self.begun)})
            case "tools/list":
                result: dict[str, Any] = {"tools": [{"name": "use", "inputSchema": ANY}]}
            case "tools/call" if request.headers["mcp-session-id"] != self.known:
                status, code, words = self._how
                error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": words}}
                return web.json_response(error, status=status) if words else web.Response(status=status)
            case "tools/call":
                self.done.append(self.known)
                self.known = ""
                result = {"content": [{"type": "text", "text": "done"}]}
            case _:
                return web.Response(status=202 if "id" not in message and message else 405)
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})


@pytest.mark.parametrize("words", ["", "Session not found"])
async def test_a_call_in_a_session_that_the_server_forgot_is_made_in_a_new_one_however_often(words: str) -> None:
    sessions = Sessions((404, -32001, words))
    async with serving(sessions.answer) as url:
        assert await used(url, [], times=9) == [Returned("done")] * 9
    assert sessions.done == [str(number) for number in range(1, 10)]


@pytest.mark.parametrize(
    ("words", "told_as"),
    [("", "Server returned an error response"), ("No valid session ID provided", "No valid session ID provided")],
)
async def test_a_session_that_is_refused_in_other_words_is_begun_anew_by_the_next_call(
    words: str, told_as: str
) -> None:
    sessions = Sessions((400, -32000, words))
    async with serving(sessions.answer) as url:
        told = await used(url, [], times=16)
    assert [each.is_error for each in told] == [False, True] * 8
    assert f"{told_as} (HTTP 400 Bad Request); it is started anew when it is next used" in told[1].content
    assert len(sessions.done) == 8


async def test_a_server_that_forgets_sessions_in_which_it_never_served_is_given_up() -> None:
    sessions = Sessions((404, -32001, "Session not found"), serves=False)
    async with serving(sessions.answer) as url:
        told = [each.content for each in await used(url, [], times=5)]
    assert sessions.begun == 6
    assert "was lost during the call" in told[0]
    assert "failed 6 times and is not started again" in told[-1]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "it wants a key in `headers`, or another than it was given"),
        (405, "is that its address of Streamable HTTP? massgen does not speak the older HTTP+SSE"),
    ],
)
async def test_a_server_that_refuses_to_start_is_told_with_what_to_do(status: int, advice: str) -> None:
    async def refusing(request: web.Request) -> web.Response:
        return web.Response(status=status)

    notes: list[str] = []
    async with serving(refusing) as url, Servers(notes.append) as servers:
        await agent_toolbox(servers, {"web": McpServer(url=url)}).offered()
    assert advice in notes[0]


@pytest.mark.parametrize("value", ["Bearer s3cret\n", "Bearer s3cr\u00e9t", " s3cret", "s3\0cret"])
async def test_a_header_that_cannot_be_sent_is_named_without_its_value(value: str) -> None:
    notes: list[str] = []
    async with Servers(notes.append) as servers:
        server = McpServer.model_validate({"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": value}})
        await agent_toolbox(servers, {"web": server}).offered()
    assert "its header 'Authorization' holds a line break, an outer space or another character" in notes[0]
    assert "s3" not in notes[0]


def cut_off(app: ASGIApp, gate: asyncio.Event) -> ASGIApp:
    """`app`, whose stream of announcements breaks off when the gate opens: the first of them."""
    listening: list[asyncio.Event] = []

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        method = dict(scope.get("headers", ())).get(b"mcp-method", b"")
        if scope["type"] != "http" or method != b"subscriptions/listen" or listening:
            await app(scope, receive, send)
            return
        listening.append(gate)
        served = asyncio.ensure_future(app(scope, receive, send))
        await gate.wait()
        served.cancel()
        await asyncio.wait([served])

    return guarded


async def test_announcements_that_break_off_are_asked_for_anew_and_so_are_the_tools() -> None:
    gate = asyncio.Event()
    server = MCPServer("adder")

    @server.tool()
    async def learn(ctx: Context) -> None:  # pyright: ignore[reportUnusedFunction]
        server.add_tool(multiply)
        if gate.is_set():
            await ctx.notify_tools_changed()

    async def until(names: set[str]) -> None:
        while {each.tool.name.removeprefix("mcp__n__") for each in await tools.offered()} != names:
            await asyncio.sleep(0.01)

    async with listening(cut_off(server.streamable_http_app(), gate)) as port, Servers(pause=lambda restart: 0) as team:
        tools = agent_toolbox(team, {"n": McpServer(url=f"http://127.0.0.1:{port}/mcp")})
        async with asyncio.timeout(8):
            await until({"learn"})
            await tools.call("mcp__n__learn", {})
            gate.set()
            await until({"learn", "multiply"})  # which nobody had announced
            server.remove_tool("multiply")
            await tools.call("mcp__n__learn", {})
            await until({"learn", "multiply"})


async def test_a_server_that_announces_nothing_though_it_says_so_is_asked_some_times_and_used_all_the_same() -> None:
    server, asked, enough = MCPServer("adder"), list[bytes](), asyncio.Event()
    server.add_tool(multiply)
    app = server.streamable_http_app()

    async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
        if dict(scope.get("headers", ())).get(b"mcp-method") != b"subscriptions/listen":
            await app(scope, receive, send)
            return
        asked.append(b"listen")
        await PlainTextResponse("no", 500)(scope, receive, send)
        if len(asked) > MAX_DEAF:
            enough.set()

    async with listening(deaf) as port, Servers(pause=lambda restart: 0) as team, asyncio.timeout(8):
        tools = agent_toolbox(team, {"n": McpServer(url=f"http://127.0.0.1:{port}/mcp")})
        assert [each.tool.name for each in await tools.offered()] == ["mcp__n__multiply"]
        await enough.wait()
        assert (await tools.call("mcp__n__multiply", {"a": 2, "b": 3})).content == "6"
    assert len(asked) == MAX_DEAF + 1


async def test_a_call_that_takes_too_long_is_given_up_and_the_server_stays() -> None:
    async def never(message: dict[str, Any]) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with by_hand(never) as url:
        (late,) = await used(url, [], timeout=0.2)
    assert late == Returned("no result within 0.2 s; the call was given up", is_error=True)


async def test_a_server_that_does_not_let_go_is_left_after_two_seconds() -> None:
    async def keeps(request: web.Request) -> web.StreamResponse:
        if request.method == "DELETE":
            await asyncio.Event().wait()
        message = await request.json() if request.method == "POST" else {"method": ""}
        info: dict[str, Any] = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "serverInfo": {"name": "k", "version": "1"},
        }
        if message["method"] != "initialize":
            return web.Response(status=202 if message["method"] == "notifications/initialized" else 405)
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": info}
        return web.json_response(reply, headers={"mcp-session-id": "s"})

    async with serving(keeps) as url:
        async with Servers() as servers:
            assert await agent_toolbox(servers, {"web": McpServer(url=url)}).offered() == []
            began = asyncio.get_running_loop().time()
        assert 1.9 < asyncio.get_running_loop().time() - began < 4
