"""The openai SDK, streamed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness import Ask, main
from openai import AsyncOpenAI


@asynccontextmanager
async def client(base_url: str) -> AsyncIterator[Ask]:
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as openai:

        async def ask(model: str, prompt: str) -> str:
            messages = [{"role": "user", "content": prompt}]
            stream = await openai.chat.completions.create(model=model, messages=messages, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

        yield ask


if __name__ == "__main__":
    main(client)
