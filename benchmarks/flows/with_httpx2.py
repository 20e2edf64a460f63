"""httpx2, server-sent events split by hand."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from harness import Ask, main


@asynccontextmanager
async def client(base_url: str) -> AsyncIterator[Ask]:
    async with httpx2.AsyncClient(timeout=60) as http:

        async def ask(model: str, prompt: str) -> str:
            body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True}
            pieces: list[str] = []
            async with http.stream("POST", f"{base_url}/chat/completions", json=body) as response:
                async for line in response.aiter_lines():
                    if line.startswith("data: {"):
                        pieces += [c["delta"].get("content") or "" for c in json.loads(line[6:])["choices"]]
            return "".join(pieces)

        yield ask


if __name__ == "__main__":
    main(client)
