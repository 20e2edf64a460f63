"""The public MassGen 0.1.97 in process, through its own Python API, without file-system tools (the kindest case)."""

import asyncio
import json
import os
import sys
import tempfile
import uuid

from harness import QUESTION, timed

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENAI_API_KEY": "none"}


def team(base_url: str, agents: int) -> dict[str, object]:
    """New model names every time: the simulator knows an agent by its model, and this one may vote before it answers."""
    run = uuid.uuid4().hex
    models = [f"m{number}-{run}" for number in range(1, agents + 1)]
    backends = [{"type": "chatcompletion", "model": model, "base_url": base_url} for model in models]
    return {"agents": [{"id": f"agent{n}", "backend": backend} for n, backend in enumerate(backends, 1)]}


def main() -> None:
    job = json.loads(sys.argv[1])
    import massgen

    async def ask() -> None:
        result = await massgen.run(
            QUESTION,
            config_dict=team(job["base_url"], job["agents"]),
            enable_filesystem=False,
            enable_logging=True,
        )
        assert result["final_answer"], result

    print(json.dumps(asyncio.run(timed(ask, flows=job["flows"], warmup=job["warmup"]))))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:  # it writes its logs where it stands
        os.chdir(home)
        os.environ["HOME"] = home
        main()
