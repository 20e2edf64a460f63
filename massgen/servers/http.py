"""Our tools on loopback, over MCP's Streamable HTTP: one address, and a token for each agent, which says who is calling.

Every request stands alone (no sessions, no streams), so none can be taken over and nothing is left open at the end. What a
page in a browser could send is refused: any other host than ours, any other origin. Imports mcp and uvicorn.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from massgen.servers import MAX_MESSAGE, Attached, Call
from massgen.servers.planning import planning_server

logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # else its warnings are printed into the live view

_HOST = "127.0.0.1"
_PATH = "/mcp"
_IDLE_SECONDS = 600
"""How long a connection that is not used stays open: an agent that thinks for a while finds it as it left it."""
_REFUSALS = {
    401: 'This is massgen\'s: send the header "Authorization: Bearer TOKEN", with the token that this agent was given.',
    404: f"There is nothing here; the tools are at {_PATH}.",
    405: "Requests are answered one by one: send each with POST.",
}


@asynccontextmanager
async def serve_http(call: Call, agents: Sequence[str]) -> AsyncGenerator[Mapping[str, Attached]]:
    """Where each of `agents` reaches the planning tools, as long as this context. Raises `OSError` where no port is free."""
    # asyncio sends without delay only where it is told that this is TCP: else each call takes 40 ms more
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind((_HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        ours = [f"{host}:{port}" for host in (_HOST, "localhost")]
        security = TransportSecuritySettings(allowed_hosts=ours, allowed_origins=[f"http://{host}" for host in ours])
        tokens = {agent: secrets.token_urlsafe(32) for agent in agents}
        async with AsyncExitStack() as stack:
            doors: dict[bytes, ASGIApp] = {}
            for agent, token in tokens.items():
                manager = StreamableHTTPSessionManager(
                    planning_server(call, agent),
                    stateless=True,
                    json_response=True,
                    security_settings=security,
                    max_request_body_size=MAX_MESSAGE,
                )
                await stack.enter_async_context(manager.run())
                doors[token.encode()] = manager.handle_request
            await stack.enter_async_context(_serving(_Doors(doors), listener))
            yield {agent: Attached(f"http://{_HOST}:{port}{_PATH}", token) for agent, token in tokens.items()}


class _Doors:
    """An app for each token that opens it."""

    def __init__(self, doors: Mapping[bytes, ASGIApp]) -> None:
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        app = self._behind(token.strip().encode()) if scheme.lower() == "bearer" else None
        if scope["path"] != _PATH:
            app = _refusal(404)
        elif app is None:
            app = _refusal(401, WWW_Authenticate="Bearer")
        elif scope["method"] != "POST":
            app = _refusal(405, Allow="POST")
        await app(scope, receive, send)

    def _behind(self, given: bytes) -> ASGIApp | None:
        """Looks at all, each in constant time, so that the time it takes tells nothing."""
        found = [app for token, app in self._doors.items() if secrets.compare_digest(token, given)]
        return found[0] if found else None


def _refusal(status: int, **headers: str) -> ASGIApp:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return PlainTextResponse(_REFUSALS[status], status, headers=named)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """None of them: Ctrl-C is the run's."""
        yield


@asynccontextmanager
async def _serving(app: ASGIApp, listener: socket.socket) -> AsyncGenerator[None]:
    """Until the end, when a request that is not whole has a second left."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]), name="planning tools over HTTP")
    try:
        yield
    finally:
        server.should_exit = True
        await task
