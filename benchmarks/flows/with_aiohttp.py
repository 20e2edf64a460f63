"""aiohttp, server-sent events split by hand."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from harness import Ask, main


@asynccontextmanager
async def client(base_url: str) -> AsyncIterator[Ask]:
    async with aiohttp.ClientSession() as session:

        async def ask(model: str, prompt: str) -> str:
            body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True}
            pieces: list[str] = []
            async with session.post(f"{base_url}/chat/completions", json=body) as response:
                async for line in response.content:
                    if line.startswith(b"data: {"):
                        pieces += [c["delta"].get("content") or "" for c in json.loads(line[6:])["choices"]]
            return "".join(pieces)

        yield ask


if __name__ == "__main__":
    main(client)
