"""massgen with the embedded model, from the start of the process to the answer; its calls are written to a file for
`with_runtime.py` to make again.

    python with_local.py '{"home": ..., "calls": FILE, "agents": 3}'
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from harness import QUESTION

from massgen import app
from massgen.backends.transport import HttpPool

CALLS: list[dict[str, Any]] = []


class Recorder(HttpPool):
    """A pool that notes the body of every call, and when it began and ended."""

    def request(self, *request: Any) -> AbstractAsyncContextManager[Any]:
        return self._noted(super().request(*request), request[3])

    @asynccontextmanager
    async def _noted(self, sent: AbstractAsyncContextManager[Any], body: bytes) -> AsyncIterator[Any]:
        call = {"body": json.loads(body), "began": time.perf_counter()}
        CALLS.append(call)
        async with sent as response:
            yield response
        call["ended"] = time.perf_counter()


def main() -> None:
    job = json.loads(sys.argv[1])
    app.HttpPool = Recorder  # the calls of the whole team pass here, and nowhere else
    team = {"agents": [{"backend": {"type": "local"}} for _ in range(job["agents"])]}
    result = asyncio.run(app.arun(QUESTION, team, session_dir=Path(job["home"])))
    assert result.exit_code == 0, result
    Path(job["calls"]).write_text(json.dumps(CALLS))


if __name__ == "__main__":
    main()
