"""The replay backend: a run is reproduced from its session, offline; a request that was not recorded is told."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from massgen.events import Asked, Fact, Recorded, Spent
from massgen.loading import parse
from massgen.log import Log, read
from massgen.orchestrator import Orchestrator, Times
from massgen.recordings import time_ran_out
from massgen.restaging import Restaging
from tests.stage import QUESTION, Stage, play
from tests.test_truths import Scene, scenes


@dataclass
class Recorder(Stage):
    """A stage whose log says by which rules it was recorded."""

    @property
    def asked(self) -> Asked:
        return Asked(QUESTION, super().asked.roster, config={"orchestrator": asdict(self.rules)})


def essence(facts: Sequence[Recorded]) -> list[Fact]:
    """The facts without what a replay cannot have: how long calls took, and what they cost."""
    return [replace(each.fact, seconds=0.0, cost=None) if isinstance(each.fact, Spent) else each.fact for each in facts]


async def again(stage: Stage, path: Path) -> list[Recorded]:
    """The facts of a replay of what was recorded on `stage`."""
    team = [{"id": name, "backend": {"type": "replay", "session": str(stage.path)}} for name in stage.agents]
    restaging = Restaging(parse({"agents": team}).config, {})
    agents = {name: restaging.agent(name)[0] for name in stage.agents}
    with Log(path) as log:
        await Orchestrator(agents, log, stage.rules, stage.times, dice=restaging.dice).run(stage.asked)
    return list(read(path))


TIMELESS = st.builds(replace, scenes, times=st.just(Times(1e6, 1e5, 1e5)))
"""Runs in which time runs out for nobody but those who hang."""


@settings(max_examples=300, deadline=None, phases=[Phase.generate])
@given(TIMELESS)
def test_every_run_is_reproduced(scene: Scene) -> None:
    with tempfile.TemporaryDirectory() as name:
        plain, _ = scene.stage(name)
        stage = Recorder(plain.path, plain.agents, plain.rules, plain.times, plain.sinks, plain.seed)
        play(stage.perform())
        done = read(stage.path)
        assume(not any(time_ran_out(each.fact) for each in done))
        replayed = play(again(stage, Path(name) / "again.jsonl"))
        assert essence(replayed) == essence(done)
