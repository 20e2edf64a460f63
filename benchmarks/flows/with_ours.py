"""massgen in process: whole runs of a team through `massgen.arun`, each with its log on disk."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from harness import QUESTION, timed

import massgen


def team(job: dict[str, str], agents: int) -> dict[str, object]:
    settings = {"type": job["type"], "base_url": job["base_url"], "api_key": "none"}
    models = [f"{job.get('prefix', '')}m{number}" for number in range(1, agents + 1)]
    return {"agents": [{"backend": {**settings, "model": model}} for model in models]}


def main(home: Path) -> None:
    job = json.loads(sys.argv[1])
    config = team(job, job["agents"])

    async def ask() -> None:
        result = await massgen.arun(QUESTION, config, session_dir=home)
        assert result.exit_code == 0, result

    print(json.dumps(asyncio.run(timed(ask, flows=job["flows"], warmup=job["warmup"]))))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        main(Path(home))
