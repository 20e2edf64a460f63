"""The official SDKs as clients of the simulator, so that a test can be about every wire."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anthropic
from google import genai
from google.genai import types

from tests.providers.app import Simulator
from tests.providers.client import SYSTEM, Client, Heard
from tests.providers.client_openai import Azure, Chat, Responses
from tests.providers.policy import Policy


class Messages(Client):
    """anthropic."""

    question = Chat.question

    def connect(self, url: str, key: str, timeout: float) -> Any:
        return anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0, timeout=timeout)

    def tool(self, name: str, schema: Mapping[str, Any]) -> Any:
        return {"name": name, "input_schema": schema}

    def answered(self, heard: Heard, results: tuple[str, ...]) -> list[Any]:
        told = zip(heard.ids, results, strict=True)
        content = [{"type": "tool_result", "tool_use_id": name, "content": text} for name, text in told]
        said = [block.model_dump(exclude_none=True) for block in heard.whole.content]
        return [{"role": "assistant", "content": said}, {"role": "user", "content": content}]

    def _request(self, how: dict[str, Any]) -> dict[str, Any]:
        tools = {"tools": self.tools} if self.tools else {}
        return {"model": self.model, "max_tokens": 100, "system": SYSTEM, "messages": self.history, **tools, **how}

    async def whole(self, **how: Any) -> Heard:
        return self._heard(await self.sdk.messages.create(**self._request(how)))

    async def streamed(self, **how: Any) -> Heard:
        async with self.sdk.messages.stream(**self._request(how)) as stream:
            pieces = [piece async for piece in stream.text_stream]
            heard = self._heard(await stream.get_final_message())
        heard.pieces = pieces
        return heard

    def _heard(self, reply: Any) -> Heard:
        made = [block for block in reply.content if block.type == "tool_use"]
        return Heard(
            whole=reply,
            text="".join(block.text for block in reply.content if block.type == "text"),
            reasoning="".join(block.thinking for block in reply.content if block.type == "thinking"),
            calls=[(block.name, block.input) for block in made],
            ids=[block.id for block in made],
            finish=reply.stop_reason,
            usage=(reply.usage.input_tokens, reply.usage.output_tokens),
        )


_ONCE = types.HttpRetryOptions(attempts=1)
"""Without it a connection that broke is tried again, after up to ten seconds."""


class Gemini(Client):
    """google-genai."""

    def connect(self, url: str, key: str, timeout: float) -> Any:
        options = types.HttpOptions(base_url=url, timeout=int(timeout * 1000), retry_options=_ONCE)
        return genai.Client(api_key=key, vertexai=False, http_options=options)

    def tool(self, name: str, schema: Mapping[str, Any]) -> Any:
        return types.Tool(function_declarations=[{"name": name, "parameters_json_schema": schema}])

    def question(self, text: str) -> Any:
        return types.Content(role="user", parts=[types.Part(text=text)])

    def answered(self, heard: Heard, results: tuple[str, ...]) -> list[Any]:
        told = [
            types.Part.from_function_response(name=name, response={"result": text})
            for (name, _), text in zip(heard.calls, results, strict=True)
        ]
        return [types.Content(role="model", parts=heard.whole), types.Content(role="user", parts=told)]

    def _request(self, how: dict[str, Any]) -> dict[str, Any]:
        config = {"system_instruction": SYSTEM, "tools": self.tools or None, **how}
        return {"model": self.model, "contents": self.history, "config": config}

    async def whole(self, **how: Any) -> Heard:
        return self._heard([await self.sdk.aio.models.generate_content(**self._request(how))])

    async def streamed(self, **how: Any) -> Heard:
        stream = await self.sdk.aio.models.generate_content_stream(**self._request(how))
        return self._heard([chunk async for chunk in stream])

    def _heard(self, replies: list[Any]) -> Heard:
        parts = [part for reply in replies for part in reply.candidates[0].content.parts or ()]
        made = [part.function_call for part in parts if part.function_call]
        last = replies[-1]
        pieces = [part.text for part in parts if part.text and not part.thought]
        return Heard(
            whole=[part for part in parts if part.text != ""],
            text="".join(pieces),
            reasoning="".join(part.text for part in parts if part.thought),
            calls=[(call.name, call.args) for call in made],
            ids=[call.id for call in made],
            finish=last.candidates[0].finish_reason.value,
            usage=(last.usage_metadata.prompt_token_count, last.usage_metadata.candidates_token_count),
            pieces=pieces if self.stream else [],
        )

    async def aclose(self) -> None:
        await self.sdk.aio.aclose()
        self.sdk.close()


CLIENTS: Mapping[str, type[Client]] = {
    "chat": Chat,
    "azure": Azure,
    "responses": Responses,
    "messages": Messages,
    "gemini": Gemini,
}
"""By the name of the wire they speak."""


@asynccontextmanager
async def talking(wire: str, policy: Policy, **how: Any) -> AsyncIterator[tuple[Client, Simulator]]:
    """A client on `wire`, and the server it talks to."""
    async with Simulator(policy) as simulator:
        client = CLIENTS[wire](simulator.url, **how)
        try:
            yield client, simulator
        finally:
            await client.aclose()
