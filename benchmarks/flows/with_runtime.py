"""The embedded model's runtime alone: the calls that `with_local.py` noted, by bare HTTP, each as soon as those are over that
were over then.

    python with_runtime.py '{"model": GGUF, "calls": FILE, "agents": 3}'
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp

from massgen.backends.local_server import LocalServer


async def replay(calls: list[dict[str, Any]], server: LocalServer) -> None:
    url = f"{await server.base_url()}/chat/completions"
    over = [asyncio.Event() for _ in calls]
    fresh = aiohttp.TCPConnector(force_close=True)  # the runtime closes idle connections unannounced
    async with aiohttp.ClientSession(connector=fresh, headers={"Authorization": f"Bearer {server.key}"}) as session:

        async def again(number: int) -> None:
            began = calls[number]["began"]
            await asyncio.gather(*(over[other].wait() for other, call in enumerate(calls) if call["ended"] <= began))
            async with session.post(url, json=calls[number]["body"]) as response:
                response.raise_for_status()
                await response.read()
            over[number].set()

        await asyncio.gather(*map(again, range(len(calls))))
    await server.aclose()


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    noted = json.loads(Path(job["calls"]).read_text())
    asyncio.run(replay(noted, LocalServer(Path(job["model"]), slots=job["agents"])))
