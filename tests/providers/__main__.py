"""The simulator as a process of its own: `python -m tests.providers`. It ends when its stdin does."""

import argparse
import asyncio
import json
import sys

from tests.providers.app import Simulator
from tests.providers.policy import Policy, Team, paced, prose, say


def main() -> None:
    options = _options()
    asyncio.run(_serve(paced(_policy(options), **_pace(options)), options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.providers", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--latency-ms", type=float, default=0, help="before the first byte of a reply")
    parser.add_argument("--chunks", type=int, default=8, help="pieces of a reply")
    parser.add_argument("--chunk-delay-ms", type=float, default=0, help="between two pieces")
    parser.add_argument("--policy", choices=["team", "text"], default="team")
    parser.add_argument("--models", nargs="*", default=["simulated"], help="what GET /v1/models lists")
    return parser.parse_args()


def _policy(options: argparse.Namespace) -> Policy:
    text = prose(max(8, options.chunks))
    return Team(answer=f"{{agent}} says {text}", final=text) if options.policy == "team" else lambda _: say(text)


def _pace(options: argparse.Namespace) -> dict[str, float]:
    delays = {"latency": options.latency_ms / 1000, "chunk_delay": options.chunk_delay_ms / 1000}
    return {**delays, "chunks": options.chunks}


async def _serve(policy: Policy, options: argparse.Namespace) -> None:
    async with Simulator(policy, models=tuple(options.models), port=options.port) as simulator:
        print(json.dumps({"base_url": simulator.base_url, "url": simulator.url}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    main()
