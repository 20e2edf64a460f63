"""litellm, bare, making the very calls of a massgen run: the same messages and tools, streamed, every chunk read."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import QUESTION, timed
from recorder import CALLS, Recorder
from with_litellm import litellm
from with_ours import team

from massgen import app, conversation


async def note(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The bodies of the calls of one run."""
    conversation.HttpPool = Recorder
    with tempfile.TemporaryDirectory() as home:
        await app.arun(QUESTION, team({**job, "type": "chatcompletion"}, job["agents"]), session_dir=Path(home))
    return [call["body"] for call in CALLS]


async def main() -> None:
    job = json.loads(sys.argv[1])
    bodies, agents = await note(job), job["agents"]

    async def ask(body: dict[str, Any]) -> str:
        named = {**body, "model": f"openai/{body['model']}", "base_url": job["base_url"], "api_key": "none"}
        deltas = [c.choices[0].delta async for c in await litellm.acompletion(**named) if c.choices]
        return "".join(d.content or "".join(t.function.arguments or "" for t in d.tool_calls or ()) for d in deltas)

    async def flow() -> None:
        await asyncio.gather(*map(ask, bodies[:agents]))
        await asyncio.gather(*map(ask, bodies[agents : 2 * agents]))
        await ask(bodies[-1])

    print(json.dumps(await timed(flow, flows=job["flows"], warmup=job["warmup"])))


if __name__ == "__main__":
    asyncio.run(main())
