"""The embedded model as a backend. It is for trying things out: free, private, and no equal of a large model."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from yarl import URL

from massgen import prompts
from massgen.backends import Request
from massgen.backends.chat_completions import ChatCompletions, HttpPool
from massgen.backends.failures import Caller
from massgen.backends.local_server import LocalServer
from massgen.backends.transport import whole
from massgen.errors import BackendError
from massgen.messages import Chunk, Usage

STALL_SECONDS = 600.0
"""A call may wait for a slot, and a slow machine reads 30 tokens a second."""
SCORED_CHARACTERS = 160
SCORED_TOKENS = 48
"""How much of a candidate is scored: it told right from wrong in 16 to 20 of 20 cases (by model); more takes longer."""
MAX_SCORE_BYTES = 2**20
DEFAULTS: Mapping[str, Any] = {"temperature": 0.7, "max_tokens": 400, "cache_prompt": False}
"""A reused prompt cache can change a token; without it the same seed gives the same reply."""


@dataclass(frozen=True, slots=True)
class Local:
    """One agent's view of the shared `server`. Agents differ by their `seed`; `options` go before `DEFAULTS`."""

    server: LocalServer
    pool: HttpPool
    model: str
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        """The reply; it costs nothing. One that must follow a schema is a decision, so nothing in it is left to chance."""
        chosen = {**DEFAULTS, "seed": self.seed, **({"temperature": 0.0} if request.schema else {}), **self._given()}
        base_url = await self.server.base_url()
        wire = ChatCompletions(
            _Unkept(self.pool),
            base_url=base_url,
            model=self.model,
            api_key=self.server.key,
            options=chosen,
            stall_timeout=STALL_SECONDS,
        )
        try:
            async with aclosing(wire.stream(request)) as chunks:
                async for chunk in chunks:
                    yield replace(chunk, cost=0.0) if isinstance(chunk, Usage) else chunk
        except BackendError as error:
            raise await self._diagnosed(error) from None

    async def score(self, question: str, candidates: Sequence[str]) -> list[float]:
        """The mean log-probability of each candidate's beginning; minus infinity for an empty one."""
        return [await self._known_likelihood(question, text[:SCORED_CHARACTERS]) for text in candidates]

    async def aclose(self) -> None:
        """Nothing is held: the server is shared, and its owner's to close."""

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if value is not None}

    async def _known_likelihood(self, question: str, text: str) -> float:
        known = self.server.scores
        async with self.server.scoring:  # the next agent that asks for the same finds it done
            if (question, text) not in known:
                known[question, text] = await self._likelihood(question, text)
        return known[question, text]

    async def _likelihood(self, question: str, text: str) -> float:
        """llama.cpp takes log-probabilities before the grammar's mask, so a grammar of one text makes it score that text."""
        messages = [{"role": "system", "content": prompts.COMPACT_SYSTEM}, {"role": "user", "content": question}]
        reply = await self._post({
            "messages": messages,
            "temperature": 0,
            "max_tokens": SCORED_TOKENS,
            "grammar": f"root ::= {literal(text)}",
            "logprobs": True,
            "top_logprobs": 1,
        })  # fmt: skip
        tokens: list[dict[str, Any]] = reply["choices"][0]["logprobs"]["content"] if text else []
        return sum(float(token["logprob"]) for token in tokens) / len(tokens) if tokens else float("-inf")

    async def _post(self, body: Mapping[str, Any]) -> Any:
        url = URL(f"{await self.server.base_url()}/chat/completions")
        caller = Caller(self.model, str(url.parent.parent), self.server.key)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.server.key}"}
        try:
            async with _Unkept(self.pool).request(
                "POST", url, headers, json.dumps(body).encode(), STALL_SECONDS
            ) as response:
                content = await whole(response, MAX_SCORE_BYTES)
        except (aiohttp.ClientError, OSError) as error:
            raise await self._diagnosed(caller.exception(error, STALL_SECONDS)) from None
        if response.status != 200:
            raise caller.status(response.status, response.headers, content)
        return json.loads(content)

    async def _diagnosed(self, error: BackendError) -> BackendError:
        """The same error, but for a process that died the next call starts another."""
        ending = await self.server.cause_of_death() if error.transient else ""
        return BackendError(f"the local model {ending}", where=self.model, transient=True) if ending else error


class _Unkept(HttpPool):
    """`pool`, but no connection is used twice: llama.cpp closes them after a streamed reply, though it says it keeps them."""

    def __init__(self, pool: HttpPool) -> None:
        super().__init__()
        self._pool = pool

    def request(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, stall: float
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._pool.request(method, url, {**headers, "Connection": "close"}, body, stall)


def literal(text: str) -> str:
    """`text` as a string of llama.cpp's grammar notation (GBNF). Control characters, which that cannot hold, become spaces."""
    escapes = dict.fromkeys(map(chr, range(32)), " ") | {
        "\n": r"\n",
        "\r": r"\r",
        "\t": r"\t",
        '"': r"\"",
        "\\": r"\\",
    }
    return f'"{text.translate(str.maketrans(escapes))}"'.encode(errors="replace").decode()
