"""agno, the cheapest of the agent frameworks measured: one Agent per call, its idiomatic call (not streamed), telemetry off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agno.agent import Agent
from agno.models.openai import OpenAILike
from harness import Ask, main


@asynccontextmanager
async def client(base_url: str) -> AsyncIterator[Ask]:
    models: dict[str, OpenAILike] = {}

    async def ask(model: str, prompt: str) -> str:
        if model not in models:
            models[model] = OpenAILike(id=model, api_key="none", base_url=base_url)
        result = await Agent(model=models[model], telemetry=False).arun(prompt)
        return str(result.content)

    yield ask


if __name__ == "__main__":
    main(client)
