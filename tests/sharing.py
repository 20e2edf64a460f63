"""A process that shares limits with others: it calls a model from several tasks, as its limiter lets it, until stdin ends.

`python -m tests.sharing '{"url": ..., "key": ..., "store": ..., "limits": {...}, "callers": 8, "tokens": 20}'`: the store is
the path of a file or the address of a Redis server. Prints as JSON how many calls were answered and refused.
"""

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

import aiohttp

from massgen.limiter import Limiter
from massgen.limiter.quotas import Feedback, Limits, Profile, Weights
from massgen.limiter.stores import QuotaStore
from massgen.limiter.stores.redis import Redis
from massgen.limiter.stores.sqlite import Sqlite


def store_at(place: str, **how: Any) -> QuotaStore:
    return Redis(place, **how) if "://" in place else Sqlite(Path(place), **how)


class Team:
    """The tasks of this process."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job, self.answered, self.refused = job, 0, 0
        self.said: list[str] = []
        self._url = f"{job['url']}/chat/completions"
        profile = Profile(limits=Limits(**job["limits"]))
        store = store_at(job["store"], lease=job["lease"], told=self.said.append)
        self.limiter = Limiter(lambda provider, model: profile, store=store, told=self.said.append)

    async def caller(self, session: aiohttp.ClientSession, seed: str) -> None:
        dice = random.Random(seed)
        while True:
            tokens = dice.randint(1, 2 * self._job["tokens"] - 1)
            body = {"model": "model", "messages": [{"role": "user", "content": "word " * tokens}]}
            estimate = Weights(tokens + tokens // 4)
            async with (
                self.limiter.slot("strict", "model", estimate=estimate) as slot,
                session.post(self._url, json=body) as response,
            ):
                if response.status == 429:
                    self.refused += 1
                    slot.rejected(Feedback())
                    continue
                slot.acked()
                reply = await response.json()
                slot.finish(Weights(reply["usage"]["prompt_tokens"]))
                self.answered += 1


async def main(job: dict[str, Any]) -> None:
    team, key = Team(job), {"authorization": f"Bearer {job['key']}"}
    async with aiohttp.ClientSession(headers=key) as session:
        tasks = [asyncio.create_task(team.caller(session, f"{job['key']} {n}")) for n in range(job["callers"])]
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        failed = [each for each in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(each, Exception)]
    await team.limiter.aclose()
    print(json.dumps({"answered": team.answered, "refused": team.refused, "said": [*team.said, *map(repr, failed)]}))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
