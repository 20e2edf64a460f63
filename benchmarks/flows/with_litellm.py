"""litellm, streamed, with its look-ups off (the kindest case)."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness import Ask, main

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_MODE"] = "PRODUCTION"

import litellm

litellm.suppress_debug_info = True


@asynccontextmanager
async def client(base_url: str) -> AsyncIterator[Ask]:
    async def ask(model: str, prompt: str) -> str:
        stream = await litellm.acompletion(
            model=f"openai/{model}",
            messages=[{"role": "user", "content": prompt}],
            stream=True,
            stream_options={"include_usage": True},
            base_url=base_url,
            api_key="none",
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    yield ask


if __name__ == "__main__":
    main(client)
