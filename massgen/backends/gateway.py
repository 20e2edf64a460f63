"""Every provider that is not reached directly, through litellm; its only importer.

litellm costs 2-3 s to import, so it is imported at the first call (or by `preload`), in a thread. It keeps clients, a
logging worker and tasks of its own per event loop: the last gateway closed on a loop ends them.
"""

import asyncio
import functools
import importlib
import logging
import os
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from massgen.backends import Request
from massgen.backends.failures import Caller
from massgen.backends.gateway_errors import told
from massgen.backends.wire import Offered, merged, wire_messages, wire_tools
from massgen.messages import Chunk, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage

T = TypeVar("T")

_LITELLMS_OWN = r"Pydantic serializer warnings:\s+PydanticSerializationUnexpectedValue\(Expected `ResponseAPIUsage`"
"""How pydantic complains of a model of litellm's in which litellm itself keeps a dictionary (Azure's Responses)."""

_open_gateways: WeakKeyDictionary[asyncio.AbstractEventLoop, set["Gateway"]] = WeakKeyDictionary()


@functools.cache
def preload() -> threading.Thread:
    """Start importing litellm in a thread (the first time; returned), so that the first call finds it there."""
    thread = threading.Thread(target=_litellm, name="import-litellm", daemon=True)
    thread.start()
    return thread


@functools.cache
def _litellm() -> Any:
    # Else the import fetches a price list over the network, and reads a .env file massgen was not told of.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm

    loaded: Any = litellm
    loaded.suppress_debug_info = True  # it would print "Give Feedback / Get Help" to stdout
    loaded.modify_params = True  # Claude, asked to think, refuses a history of calls without the thoughts before them
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", _LITELLMS_OWN, UserWarning)
    loaded.token_counter(model="", text="")  # loads its tokenizer, 0.3 s, here instead of on the event loop
    return loaded


async def _loaded() -> Any:
    if _litellm.cache_info().currsize:
        return _litellm()
    return await asyncio.to_thread(_litellm)


class Gateway:
    """The model that litellm knows as `model`, e.g. `anthropic/claude-...`. One attempt per call: retrying is the caller's.

    `options`: litellm's parameters (left out where None), among them `tools` of the provider's own, which come after ours,
    and `extra_body`, whose fields are sent as they are.
    A silence of `stall_timeout` seconds, before the first chunk or between two, breaks the call off. Errors name `key_name`
    as the variable that holds the key, and `key_page` as the place where keys are made.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        options: Mapping[str, Any] | None = None,
        stall_timeout: float = 120.0,
        key_name: str = "",
        key_page: str = "",
    ) -> None:
        self._model, self._stall_timeout = model, stall_timeout
        self._caller = Caller(model, base_url or "its provider", api_key or "", key_name, key_page)
        given = {"api_key": api_key, "base_url": base_url, **(options or {})}
        self._settings = _spread(model, {name: value for name, value in given.items() if value is not None})

    @property
    def model(self) -> str:
        return self._model

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        """The reply in chunks; raises `BackendError`. `cost` is litellm's price list's, None where it has none."""
        litellm = await _loaded()
        _open_gateways.setdefault(asyncio.get_running_loop(), set()).add(self)
        stream = await self._guarded(litellm.acompletion(**self._arguments(request)))
        request.accepted(getattr(stream, "_response_headers", None) or {})
        usage, finish = None, Finish("stop")
        ours = Offered(frozenset(tool.name for tool in request.tools) if "tools" in self._settings else None)
        try:
            while (chunk := await self._guarded(anext(stream, None))) is not None:
                for piece in _deltas(chunk):
                    if ours.keeps(piece):
                        yield piece
                finish = _finish(chunk) or finish
                if reported := getattr(chunk, "usage", None):
                    usage = _usage(litellm, self._model, reported)
        finally:
            await stream.aclose()
        if _is_cut_off(stream):
            raise self._caller.error("the reply was cut off", transient=True)
        if usage:
            yield usage
        yield finish

    async def aclose(self) -> None:
        loop = asyncio.get_running_loop()
        gateways = _open_gateways.get(loop, set["Gateway"]())
        if self not in gateways:
            return
        gateways.discard(self)
        if not gateways:
            await _release(_litellm(), loop)

    def _arguments(self, request: Request) -> dict[str, Any]:
        # drop_params stays off: a setting the model does not have is an error that names it, not silently ignored,
        # and tools are never dropped (an agent that cannot act would only be asked again).
        arguments: dict[str, Any] = {
            "model": self._model,
            "messages": wire_messages(request.messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "num_retries": 0,
            "max_retries": 0,
            "timeout": 2 * self._stall_timeout,  # ours ends the call first
            "tools": wire_tools(request.tools),
        }
        if request.schema is not None:
            schema = {"name": "reply", "schema": request.schema, "strict": True}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        return merged(arguments, self._settings)

    async def _guarded(self, awaitable: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._stall_timeout):
                return await awaitable
        except TimeoutError as error:
            raise self._caller.exception(error, self._stall_timeout) from None
        except Exception as error:  # noqa: BLE001 - whatever failed in the code of 100 providers; the cause may hold the key
            raise told(error, self._caller, self._stall_timeout) from None


def _spread(model: str, settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` with the fields of `extra_body` where litellm passes them on: to Anthropic it would send that name itself."""
    extra: dict[str, Any] = settings.pop("extra_body", {})
    if model.startswith("anthropic/"):
        return merged(settings, extra)
    tools = {"tools": extra["tools"]} if "tools" in extra else {}
    rest = {name: value for name, value in extra.items() if name != "tools"}
    return merged({**settings, **({"extra_body": rest} if rest else {})}, tools)


def _deltas(chunk: Any) -> Iterator[Chunk]:
    for choice in chunk.choices[:1]:
        delta = choice.delta
        if reasoning := getattr(delta, "reasoning_content", None):
            yield ReasoningDelta(reasoning)
        if delta.content:
            yield TextDelta(delta.content)
        for call in delta.tool_calls or ():
            function = call.function
            yield ToolCallDelta(call.index, call.id or "", function.name or "", function.arguments or "")


def _finish(chunk: Any) -> Finish | None:
    reasons = [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
    return Finish(reasons[0]) if reasons else None


def _is_cut_off(stream: Any) -> bool:
    """Whether the reply ended before its end: litellm then says `stop` itself, but remembers that it never came."""
    return all(getattr(stream, f"{kind}_finish_reason", "") is None for kind in ("received", "intermittent"))


def _usage(litellm: Any, model: str, usage: Any) -> Usage:
    try:
        cost = sum(litellm.cost_per_token(model=model, usage_object=usage))
    except Exception:  # noqa: BLE001 - an unlisted model raises one of several, depending on its provider
        cost = 0.0
    # Its price list says 0 for some models that cost money: 0 means unknown.
    return Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0, cost or None)


async def _release(litellm: Any, loop: asyncio.AbstractEventLoop) -> None:
    """End what litellm keeps on `loop`: its logging worker, its tasks, and the clients it cached under the loop's id."""
    await importlib.import_module("litellm.litellm_core_utils.logging_worker").GLOBAL_LOGGING_WORKER.stop()
    tasks = [task for task in asyncio.all_tasks(loop) if _is_litellms(task)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    clients: dict[str, Any] = litellm.in_memory_llm_clients_cache.cache_dict
    for key in [key for key in clients if key.endswith(f"-{id(loop)}")]:
        client = clients.pop(key)
        close: Callable[[], Awaitable[None]] = getattr(client, "aclose", None) or client.close
        await close()
    if shared := litellm.__dict__.get("module_level_aclient"):
        # Anthropic's and some others', for all loops: its sessions are opened anew, so it must not be closed itself.
        await shared.client._transport.aclose()


def _is_litellms(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and f"{os.sep}litellm{os.sep}" in code.co_filename
