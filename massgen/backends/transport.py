"""HTTP as massgen uses it: one session for all agents of a run, and responses read within bounds."""

import asyncio
import ipaddress
import urllib.request
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from massgen import __version__

CONNECT_SECONDS = 30.0
DRAIN_SECONDS = 0.5
"""How long the end of a response is waited for after its last event, so that its connection can be used again."""
MAX_DRAINED = 64 * 2**10


class HttpPool:
    """The connections of a run, shared by all agents (and with them one TLS context): `async with HttpPool() as pool`.

    Proxies are those of the environment, never for loopback addresses. No redirects, no cookies, no `.netrc`.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[URL, str | None] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Harmless when called twice."""
        if self._session:
            await self._session.close()
            self._session = None

    def request(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, stall: float
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send a request; a silence of `stall` seconds at any point ends it with `TimeoutError`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT_SECONDS, stall), sock_read=stall)
        return self._opened().request(
            method, url, headers=headers, data=body, timeout=timeout, proxy=self._proxy(url), allow_redirects=False
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                # identity: a compressed stream arrives in bursts, and could grow without bound when unpacked.
                headers={"User-Agent": f"massgen/{__version__}", "Accept-Encoding": "identity"},
                trust_env=False,
            )
        return self._session

    def _proxy(self, url: URL) -> str | None:
        origin = url.origin()
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(origin)
        return self._proxies[origin]


def proxy_for(url: URL) -> str | None:
    """The proxy that the environment (or the system's settings) names for `url`."""
    host = url.host or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def whole(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The response's body, or so much of it that it is longer than `limit` bytes."""
    body = bytearray()
    async for block in response.content.iter_any():
        body += block
        if len(body) > limit:
            break
    return bytes(body)


async def drain(response: aiohttp.ClientResponse) -> None:
    """Read to the end of a response whose last event has come; a server that does not end it loses the connection."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await whole(response, MAX_DRAINED)
    except (TimeoutError, aiohttp.ClientError):
        response.close()
