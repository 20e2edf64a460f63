"""Hand-written HTTP/1.1 over asyncio streams, one kept connection per model: the least a client in CPython can cost."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from harness import Ask, main


@asynccontextmanager
async def client(base_url: str) -> AsyncIterator[Ask]:
    url = urlsplit(base_url)
    free: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def ask(model: str, prompt: str) -> str:
        reader, writer = free.pop(model, None) or await asyncio.open_connection(url.hostname, url.port)
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True}).encode()
        head = f"POST {url.path}/chat/completions HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await reader.readuntil(b"\r\n\r\n")
        text = "".join([piece async for piece in _deltas(reader)])
        free[model] = reader, writer
        return text

    yield ask
    for _, writer in free.values():
        writer.close()
        await writer.wait_closed()


async def _deltas(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    rest = b""
    while size := int(await reader.readline(), 16):
        rest += (await reader.readexactly(size + 2))[:-2]
        *lines, rest = rest.split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    yield choice["delta"].get("content") or ""
    await reader.readline()


if __name__ == "__main__":
    main(client)
