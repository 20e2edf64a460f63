"""OpenAI's SDK as a client of the simulator."""

import json
from collections.abc import Mapping
from typing import Any

import openai

from tests.providers.client import SYSTEM, Client, Heard


class Chat(Client):
    """openai, chat completions."""

    def connect(self, url: str, key: str, timeout: float) -> Any:
        return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=timeout)

    def tool(self, name: str, schema: Mapping[str, Any]) -> Any:
        return {"type": "function", "function": {"name": name, "parameters": schema}}

    def question(self, text: str) -> Any:
        return {"role": "user", "content": text}

    def answered(self, heard: Heard, results: tuple[str, ...]) -> list[Any]:
        made = zip(heard.ids, heard.calls, strict=True)
        calls = [
            {"id": name, "type": "function", "function": {"name": tool, "arguments": json.dumps(arguments)}}
            for name, (tool, arguments) in made
        ]
        told = [
            {"role": "tool", "tool_call_id": name, "content": text}
            for name, text in zip(heard.ids, results, strict=True)
        ]
        return [{"role": "assistant", "content": heard.text or None, "tool_calls": calls}, *told]

    def _request(self, how: dict[str, Any]) -> dict[str, Any]:
        system = {"role": "system", "content": SYSTEM}
        tools = {"tools": self.tools} if self.tools else {}
        return {"model": self.model, "messages": [system, *self.history], **tools, **how}

    async def whole(self, **how: Any) -> Heard:
        reply = await self.sdk.chat.completions.create(**self._request(how))
        choice, usage = reply.choices[0], reply.usage
        made = choice.message.tool_calls or ()
        return Heard(
            text=choice.message.content or "",
            reasoning=getattr(choice.message, "reasoning_content", ""),
            calls=[(call.function.name, json.loads(call.function.arguments)) for call in made],
            ids=[call.id for call in made],
            finish=choice.finish_reason,
            usage=(usage.prompt_tokens, usage.completion_tokens),
        )

    async def streamed(self, **how: Any) -> Heard:
        heard, arguments = Heard(), list[str]()
        options = {"stream": True, "stream_options": {"include_usage": True}}
        async for chunk in await self.sdk.chat.completions.create(**self._request(how), **options):
            if chunk.usage:
                heard.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
            for choice in chunk.choices:
                _add_delta(heard, arguments, choice.delta)
                heard.finish = choice.finish_reason or heard.finish
        heard.text = "".join(heard.pieces)
        heard.calls = [(name, json.loads(text)) for (name, _), text in zip(heard.calls, arguments, strict=True)]
        return heard


def _add_delta(heard: Heard, arguments: list[str], delta: Any) -> None:
    heard.pieces += [delta.content] if delta.content else []
    heard.reasoning += getattr(delta, "reasoning_content", "")
    for call in delta.tool_calls or ():
        if call.id:
            heard.ids.append(call.id)
            heard.calls.append((call.function.name, None))
            arguments.append("")
        arguments[call.index] += call.function.arguments


class Azure(Chat):
    """openai, chat completions of a deployment."""

    def connect(self, url: str, key: str, timeout: float) -> Any:
        return openai.AsyncAzureOpenAI(
            azure_endpoint=url, api_key=key, api_version="2025-04-01-preview", max_retries=0, timeout=timeout
        )


class Responses(Client):
    """openai, responses."""

    connect = Chat.connect
    question = Chat.question

    def tool(self, name: str, schema: Mapping[str, Any]) -> Any:
        return {"type": "function", "name": name, "parameters": schema, "strict": False}

    def answered(self, heard: Heard, results: tuple[str, ...]) -> list[Any]:
        told = zip(heard.ids, results, strict=True)
        outputs = [{"type": "function_call_output", "call_id": name, "output": text} for name, text in told]
        return [*(item.model_dump(exclude_none=True) for item in heard.whole.output), *outputs]

    def _request(self, how: dict[str, Any]) -> dict[str, Any]:
        tools = {"tools": self.tools} if self.tools else {}
        return {"model": self.model, "instructions": SYSTEM, "input": self.history, **tools, **how}

    async def whole(self, **how: Any) -> Heard:
        return self._heard(await self.sdk.responses.create(**self._request(how)))

    async def streamed(self, **how: Any) -> Heard:
        pieces, whole, arguments = list[str](), None, list[str]()
        async for event in await self.sdk.responses.create(**self._request(how), stream=True):
            match event.type:
                case "response.output_text.delta":
                    pieces.append(event.delta)
                case "response.function_call_arguments.delta":
                    arguments.append(event.delta)
                case "response.completed" | "response.incomplete":
                    whole = event.response
                case _:
                    pass
        heard = self._heard(whole)
        assert "".join(arguments) == "".join(item.arguments for item in whole.output if item.type == "function_call")
        heard.pieces = pieces
        return heard

    def _heard(self, reply: Any) -> Heard:
        made = [item for item in reply.output if item.type == "function_call"]
        thoughts = [part.text for item in reply.output if item.type == "reasoning" for part in item.summary]
        return Heard(
            whole=reply,
            text=reply.output_text,
            reasoning="".join(thoughts),
            calls=[(item.name, json.loads(item.arguments)) for item in made],
            ids=[item.call_id for item in made],
            finish=reply.incomplete_details.reason if reply.incomplete_details else reply.status,
            usage=(reply.usage.input_tokens, reply.usage.output_tokens),
        )
