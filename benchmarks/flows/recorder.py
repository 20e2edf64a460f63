"""Notes the model calls of massgen's own runs, so that a peer can make the very same."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from massgen.backends.transport import HttpPool

CALLS: list[dict[str, Any]] = []
"""`body`, and when it `began` and `ended` (seconds); in the order of beginning."""


class Recorder(HttpPool):
    """A pool that notes every call: put in the place of `massgen.conversation.HttpPool`, all calls of a run pass through it."""

    def request(self, *request: Any) -> AbstractAsyncContextManager[Any]:
        return self._noted(super().request(*request), request[3])

    @asynccontextmanager
    async def _noted(self, sent: AbstractAsyncContextManager[Any], body: bytes) -> AsyncIterator[Any]:
        call = {"body": json.loads(body), "began": time.perf_counter()}
        CALLS.append(call)
        try:
            async with sent as response:
                yield response
        finally:
            call["ended"] = time.perf_counter()
