"""Plays the case studies: `python -m tests.case_studies` records the session of each of them anew; with `pages` it only writes the
pages of the handbook that show them whole.

A study is a folder of `case_studies/` with `question.txt`, `team.yaml` (and the profiles `replay` and `scripted`), `script.yaml`,
the modules and data that its tools need, and what is written here: the log in `session/`, the files that the team made in
`made/`. Its narrative is `handbook/case-studies/NAME.md`; the figures of what was made need an oracle in
`tests/test_case_studies.py`.

What the models say stands in `script.yaml`; everything else is the command's own: it runs with
`team.yaml`, profile `scripted`, and asks a server on loopback. The order is kept by facts, as they come on its stdout, not
by time: a reply is sent once all that came of the one before it is recorded. While it is recorded, replies take the seconds
that the script gives them; in tests they take none.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from massgen.events import Answered, Fact, Presented, Reprompted, Said, ToolReturned, Voted
from massgen.log.codec import decode
from massgen.sessions import LOG_NAME
from tests.command import Ran, started
from tests.providers import Act, Call, Reply, Simulator, fault

ROOT = Path(__file__).parents[1]
STUDIES = sorted(path.parent for path in ROOT.glob("case_studies/*/script.yaml"))
SECONDS = 300.0
"""What a study may take while it is recorded."""
KEY = "sk-0123456789abcdef"
"""For a server that wants none: it must be in no recording."""


@dataclass(frozen=True, slots=True)
class Line:
    """What an agent says, `after` so many seconds: text, and calls by name."""

    agent: str
    after: float = 0.0
    text: str = ""
    calls: Sequence[Mapping[str, Any]] = ()


def script(study: Path) -> list[Line]:
    """All that is said in `study`, in its order."""
    lines = yaml.safe_load((study / "script.yaml").read_text("utf-8"))
    return [Line(agent, **said) for line in lines for agent, said in line.items()]


def question(study: Path) -> str:
    return (study / "question.txt").read_text("utf-8").strip()


@dataclass
class Players:
    """The models of a study, as a policy. `fact` tells them what was recorded."""

    lines: Sequence[Line]
    speed: float = 0.0
    """How much of its seconds a reply takes."""
    asked: Counter[str] = field(default_factory=Counter[str])
    done: int = 0
    """Lines of which all is recorded that came of them."""
    _open: Counter[str] = field(default_factory=Counter[str])
    """What has still to come of an agent's last line."""

    def __post_init__(self) -> None:
        self.turns = [asyncio.Event() for _ in self.lines]
        self.turns[0].set()

    def __call__(self, asked: Call) -> Reply:
        agent = asked.model.removeprefix("scripted-")
        own = [place for place, line in enumerate(self.lines) if line.agent == agent]
        if self.asked[agent] == len(own):
            return fault(status=418, message=f"the script has only {len(own)} lines of {agent}")
        place = own[self.asked[agent]]
        self.asked[agent] += 1
        line, text = self.lines[place], json.dumps([*asked.messages, asked.tools])
        acts = tuple(self._act(place, number, call, asked) for number, call in enumerate(line.calls))
        given = len(line.text) + sum(len(act.arguments) for act in acts)
        taken, said = len(text) // 4, max(1, given // 4)
        return Reply(
            line.text,
            acts=acts,
            gate=self.turns[place],
            delay=line.after * self.speed,
            input_tokens=taken,
            output_tokens=said,
        )

    def _act(self, place: int, number: int, call: Mapping[str, Any], asked: Call) -> Act:
        ((name, arguments),) = call.items()
        if name == "vote":
            arguments = {"reason": arguments["reason"], "agent_id": self._label(arguments["for"], place, asked)}
        return Act(name, json.dumps(arguments, ensure_ascii=False), f"call_{place + 1}_{number + 1}")

    def _label(self, author: str, place: int, asked: Call) -> str:
        """Under which label the latest answer of `author` stands on the ballot that the voter was shown."""
        own = [line for line in self.lines[:place] if line.agent == author]
        answers = [call["new_answer"]["content"] for line in own for call in line.calls if "new_answer" in call]
        text = "\n".join(str(message["content"]) for message in asked.messages)
        return re.findall(rf"<(agent\d+)>\n{re.escape(answers[-1])}\n</", text)[-1]

    def fact(self, fact: Fact) -> None:
        """Let the next one speak, if that was the last that came of a line."""
        match fact:
            case Said(agent, _, message):
                self._open[agent] = max(1, len(message.tool_calls))
            case ToolReturned(agent) | Answered(agent) | Voted(agent) | Presented(agent) | Reprompted(agent):
                self._open[agent] -= 1
                if self._open[agent] == 0:
                    self.done += 1
                    if self.done < len(self.turns):
                        self.turns[self.done].set()
            case _:
                pass


async def play(study: Path, work: Path, speed: float = 0.0) -> Ran:
    """Run the command on a copy of `study` in `work`, where it finds and leaves its files; the session is in `work/sessions`.

    `out` are its facts, as JSON lines."""
    players, told = Players(script(study), speed), list[str]()
    async with Simulator(players) as simulator, asyncio.timeout(SECONDS):
        env = {"OPENAI_API_KEY": KEY, "SCRIPTED_MODELS": simulator.base_url}
        run = ["--config", "team.yaml", "--profile-name", "scripted", "--session-dir", "sessions", "--json"]
        async with started(*run, question(study), env=env, cwd=work, limit=2**24) as process:
            assert process.stdout
            assert process.stderr
            errors = asyncio.create_task(process.stderr.read())
            async for line in process.stdout:
                told.append(line.decode())
                players.fact(_fact(json.loads(line)))
            said = (await errors).decode()
            return Ran(await process.wait(), "".join(told), said)


def _fact(line: Mapping[str, Any]) -> Fact:
    return decode(Fact, {key: each for key, each in line.items() if key not in ("seq", "at")})


def record(study: Path) -> None:
    """Run `study` at its own pace, and keep the session and what was made in its folder. Paths are told from the root of the
    checkout, for the place where it was recorded is nobody's business."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        work = root / study.relative_to(ROOT)
        shutil.copytree(study, work, ignore=shutil.ignore_patterns("session", "made", "__pycache__"))
        before = {path.name for path in work.iterdir()}
        ran = asyncio.run(play(study, work, speed=1.0))
        if ran.code:
            raise SystemExit(f"{study.name}: exit code {ran.code}, nothing was kept\n{ran.err}")
        (session,) = (work / "sessions").iterdir()
        log = (session / LOG_NAME).read_text("utf-8").replace(f"{root}/", "")
        for name in ("session", "made"):
            shutil.rmtree(study / name, ignore_errors=True)
            (study / name).mkdir()
        (study / "session" / LOG_NAME).write_text(log, "utf-8")
        for name in {path.name for path in work.iterdir()} - before - {"sessions", "__pycache__"}:
            shutil.copy(work / name, study / "made" / name)


def page(study: Path) -> Path:
    """Where the handbook has the exported session."""
    return ROOT / f"handbook/case-studies/{study.name}-session.html"


def main(arguments: list[str]) -> None:
    for study in STUDIES:
        if arguments != ["pages"]:
            record(study)
        export = ["sessions", "export", str(study / "session"), "--force", "--output", str(page(study))]
        subprocess.run([sys.executable, "-m", "massgen", *export], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
