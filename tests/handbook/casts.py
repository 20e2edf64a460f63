"""Records the terminal casts of the handbook: `python -m tests.handbook.casts` writes them, `--check` compares.

The rules, the agents, the log and the live view are massgen's own. The models follow a script and the clock is a virtual one,
so that every recording is the same byte for byte.
"""

import asyncio
import io
import json
import random
import re
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live

from massgen.agents.calls import Retry
from massgen.agents.loop import LoopAgent
from massgen.backends import Request
from massgen.coordination import Rules
from massgen.display.frame import UNICODE, Frame, paint
from massgen.display.view import View, summary
from massgen.events import Answered, Asked, Chosen, Fact, Member, Recorded, VotingOpened
from massgen.log import Log
from massgen.messages import Chunk, Finish, TextDelta, ToolCallDelta, Usage
from massgen.orchestrator import Orchestrator
from tests.facts import START
from tests.stage import offered, play

FOLDER = Path(__file__).parents[2] / "handbook" / "assets" / "casts"
SIZES = {"team.cast": (92, 16), "team-narrow.cast": (46, 20)}
"""File -> columns and rows. The handbook shows the narrow one on narrow screens."""

QUESTION = "A bat and a ball cost 1.10 euros. The bat costs 1 more. How much is the ball?"
COMMAND = f'massgen "{QUESTION}"'
FRAME, KEY, WORD = 0.25, 0.03, 0.2
"""Seconds from one frame, typed letter, streamed word to the next."""

RIGHT = "The ball costs 5 cents. If it costs x, the bat costs x + 1.00. Together 2x + 1.00 = 1.10, so x = 0.05."
WRONG = "The ball costs 10 cents: 1.10 euros less the 1 euro of the bat."
MENDED = "The ball costs 5 cents and the bat 1.05. My 10 cents was wrong: the bat would then cost 1.10 and both 1.20."
FINAL = "The ball costs **5 cents**, the bat 1.05 euros.\n\nCheck: 1.05 + 0.05 = 1.10, and 1.05 - 0.05 = 1.00."


@dataclass
class Player:
    """A model that says its lines word by word: `answers`, then a vote for who wrote `RIGHT`, and the final answer."""

    answers: list[str]
    reason: str
    pause: float
    model: str = "scripted"

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        await asyncio.sleep(self.pause)
        pieces = [*self._line(request)]
        for piece in pieces:
            yield piece
            await asyncio.sleep(WORD)
        yield Usage(sum(len(message.text) for message in request.messages) // 4, len(pieces))
        yield Finish("stop")

    def _line(self, request: Request) -> Iterator[Chunk]:
        if "new_answer" not in offered(request):
            yield from map(TextDelta, _words(FINAL))
        elif self.answers:
            yield from _called("new_answer", content=self.answers.pop(0))
        else:
            label = re.search(rf"<(\w+)>\n{re.escape(RIGHT)}", request.messages[-1].text)
            assert label, "nobody has answered what the script votes for"
            yield from _called("vote", reason=self.reason, agent_id=label[1])

    async def aclose(self) -> None:
        """Nothing is held."""


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


def _called(name: str, **arguments: str) -> Iterator[Chunk]:
    yield ToolCallDelta(0, "call", name)
    for piece in _words(json.dumps(arguments)):
        yield ToolCallDelta(0, arguments=piece)


@dataclass
class Followed:
    """Everything a display is told of a run, each with its second."""

    told: list[tuple[float, Recorded | tuple[str, Chunk]]] = field(
        default_factory=list[tuple[float, Recorded | tuple[str, Chunk]]]
    )

    def fact(self, recorded: Recorded) -> None:
        self.told.append((asyncio.get_running_loop().time(), recorded))

    def delta(self, agent: str, chunk: Chunk) -> None:
        self.told.append((asyncio.get_running_loop().time(), (agent, chunk)))


async def _perform() -> Followed:
    team = {
        "ada": Player([RIGHT], "it shows the equation", 1.2),
        "bob": Player([WRONG, MENDED], "the shortest correct derivation", 0.6),
        "cy": Player(["5 cents. The bat is 1.05, which is 1 euro more."], "every step can be checked", 2.0),
    }
    agents = {name: LoopAgent(name, player, retry=Retry(jitter=lambda: 1.0)) for name, player in team.items()}
    followed, loop = Followed(), asyncio.get_running_loop()
    with (
        tempfile.TemporaryDirectory() as folder,
        Log(Path(folder) / "events.jsonl", clock=lambda: START + loop.time()) as log,
    ):
        orchestrator = Orchestrator(agents, log, Rules(), sinks=[followed], dice=random.Random(3))
        await orchestrator.run(Asked(QUESTION, tuple(Member(name, "scripted", "a script") for name in team)))
    return followed


@dataclass
class Tape:
    """A cast being written: what the terminal is sent, and the chapters."""

    width: int
    height: int
    now: float = 0.0
    events: list[tuple[float, str, str]] = field(default_factory=list[tuple[float, str, str]])

    def write(self, text: str, after: float = 0.0) -> None:
        self.now = round(self.now + after, 3)
        if text:
            self.events.append((self.now, "o", text.replace("\n", "\r\n")))

    def chapter(self, name: str) -> None:
        self.events.append((self.now, "m", name))

    def __str__(self) -> str:
        header = {"version": 2, "width": self.width, "height": self.height, "title": "massgen: a team of three"}
        return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in (header, *self.events))


@dataclass
class Screen:
    """The live view, drawn onto a tape frame by frame."""

    tape: Tape
    view: View = field(default_factory=View)
    shown: Frame = field(default_factory=lambda: Frame([]))

    def __post_init__(self) -> None:
        self.sent = io.StringIO()
        console = Console(
            file=self.sent,
            width=self.tape.width,
            height=self.tape.height,
            force_terminal=True,
            color_system="standard",
            legacy_windows=False,
            _environ={},
        )
        self.live = Live(self.shown, console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def see(self, told: Recorded | tuple[str, Chunk]) -> None:
        if isinstance(told, Recorded):
            self.view.fact(told)
        else:
            self.view.delta(*told)

    def draw(self, at: float, *, closing: bool = False) -> None:
        frame = paint(self.view, START + at, self.tape.width, self.tape.height, UNICODE, closing=closing)
        if frame != self.shown:
            self.shown = frame
            self.live.update(frame, refresh=True)

    def flush(self, after: float = 0.0, chapters: Iterable[str] = ()) -> None:
        self.tape.write("", after)
        for name in chapters:
            self.tape.chapter(name)
        self.tape.write(self.sent.getvalue())
        self.sent.seek(0)
        self.sent.truncate()


def record(width: int, height: int) -> str:
    """The cast on a terminal of that size, as asciicast 2."""
    tape = Tape(width, height)
    tape.write("$ ")
    for letter in COMMAND:
        tape.write(letter, KEY)
    tape.write("\n", 0.5)
    screen = Screen(tape)
    with screen.live:
        end = _follow(screen, play(_perform()).told)
        screen.draw(end, closing=True)
    closing = "".join(f"{text}\n" for text in summary(screen.view, START + end))
    screen.sent.write(f"{closing}{FINAL}\n$ ")
    screen.flush(FRAME, ["stdout gets the final answer alone"])
    tape.write("\x1b[?25h", 4)
    return str(tape)


def _follow(screen: Screen, told: Sequence[tuple[float, Recorded | tuple[str, Chunk]]]) -> float:
    """Draw what is told, a frame at every `FRAME`; a chapter begins with the frame that shows its fact."""
    rest, at = [*told], 0.0
    while rest:
        chapters: list[str] = []
        while rest and rest[0][0] <= at:
            each = rest.pop(0)[1]
            screen.see(each)
            chapters += [_chapter(each.fact, screen.view)] if isinstance(each, Recorded) else []
        screen.draw(at)
        screen.flush(FRAME, filter(None, chapters))
        at += FRAME
    return told[-1][0]


def _chapter(fact: Fact, view: View) -> str:
    match fact:
        case Asked():
            return "First answers: each agent on its own"
        case VotingOpened():
            return "The vote: each sees all answers, without names"
        case Answered(agent) if view.state.voting_open:
            return f"{agent} corrects its answer: votes that did not see it are void"
        case Chosen():
            return f"Every vote counts: {view.winner} writes the final answer"
        case _:
            return ""


def main(arguments: list[str]) -> int:
    stale = [name for name, size in SIZES.items() if _text(FOLDER / name) != record(*size)]
    if "--check" in arguments:
        for name in stale:
            print(f"{FOLDER / name}: not what massgen shows; run: make docs-update", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (FOLDER / name).write_bytes(record(*SIZES[name]).encode())
    return 0


def _text(path: Path) -> str:
    return path.read_bytes().decode() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
