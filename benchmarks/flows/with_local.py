"""massgen with the embedded model, from the start of the process to the answer; its calls are written to a file for
`with_runtime.py` to make again.

    python with_local.py '{"home": ..., "calls": FILE, "agents": 3}'
"""

import asyncio
import json
import sys
from pathlib import Path

from harness import QUESTION
from recorder import CALLS, Recorder

from massgen import app, conversation


def main() -> None:
    job = json.loads(sys.argv[1])
    conversation.HttpPool = Recorder
    team = {"agents": [{"backend": {"type": "local"}} for _ in range(job["agents"])]}
    result = asyncio.run(app.arun(QUESTION, team, session_dir=Path(job["home"])))
    assert result.exit_code == 0, result
    Path(job["calls"]).write_text(json.dumps(CALLS))


if __name__ == "__main__":
    main()
