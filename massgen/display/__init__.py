"""Following a run on stderr: the live view on a terminal, lines elsewhere, or nothing."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol, Self, TextIO, TypeAlias, TypeVar, runtime_checkable

from massgen.display.view import View, summary
from massgen.events import (
    Answered,
    Asked,
    Chosen,
    Evaluated,
    Fact,
    Informed,
    PlanChanged,
    Presented,
    Recorded,
    Reprompted,
    Resumed,
    Retried,
    Said,
    Spent,
    Stopped,
    Summarised,
    ToolCalled,
    ToolReturned,
    TurnBegan,
    TurnFailed,
    Voted,
    VotingOpened,
    Waited,
)
from massgen.figures import duration, waiting
from massgen.log import Sink
from massgen.messages import Chunk, Waiting
from massgen.streams import line

T = TypeVar("T")
Mode: TypeAlias = Literal["auto", "plain", "verbose", "none"]
"""`auto`: live on a terminal that can move its cursor, else plain. `verbose`: plain, with turns and model calls."""

WIDEST = 200
"""Characters of a model's text in one plain line."""


@runtime_checkable
class Display(Sink, Protocol):
    """A sink to be entered before the run and left after it, however it ends. Before a question it hears of earlier changes of
    plans, for it shows where they stand."""

    def paused(self) -> AbstractContextManager[None]:
        """While somebody is asked: nothing is drawn over the question. To be used between entering and leaving."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_display(
    mode: Mode, stream: TextIO | None, *, clock: Callable[[], float] = time.time, session: str = ""
) -> Display:
    """The display for `stream`; `clock` counts as the log's `at` does, `session` is named in the closing summary."""
    if mode == "none" or stream is None:
        return NoView()
    steady = Steady(stream)
    if mode != "auto" or not steady.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return PlainView(steady, clock=clock, session=session, verbose=mode == "verbose")
    from massgen.display.live import LiveView  # rich costs 0.1 s that only a terminal needs to pay

    return LiveView(steady, clock=clock, session=session)


class Steady:
    """A text stream whose failures end the display, never the run: from the first one on it drops what is written.

    Characters its encoding lacks become `?`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        self._try(lambda stream: stream.write(text.encode(self.encoding, "replace").decode(self.encoding)))
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        return bool(self._try(lambda stream: stream.isatty()))

    def wraps(self, stream: object) -> bool:
        return stream is self._stream

    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 and 24 where the terminal does not know."""
        try:
            found = os.get_terminal_size(self._stream.fileno()) if self._stream else None
        except (OSError, ValueError):
            found = None
        return (found.columns or 80, found.lines or 24) if found else (80, 24)

    def _try(self, use: Callable[[TextIO], T]) -> T | None:
        if self._stream is None:
            return None
        try:
            return use(self._stream)
        except (OSError, ValueError):  # broken pipe, full disk; closed
            self._stream = None
            return None


class NoView:
    """Shows nothing."""

    def fact(self, recorded: Recorded) -> None:
        pass

    def delta(self, agent: str, chunk: Chunk) -> None:
        pass

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class PlainView(NoView):
    """One line for each fact worth a line, and the summary at the end; `verbose`: more of them, each with its time."""

    def __init__(self, stream: Steady, *, clock: Callable[[], float], session: str = "", verbose: bool = False) -> None:
        self._stream, self._clock, self._session, self._verbose = stream, clock, session, verbose
        self._view = View()

    def fact(self, recorded: Recorded) -> None:
        self._view.fact(recorded)
        text = told(recorded.fact, self._view)
        if self._verbose and (text := text or detail(recorded.fact, self._view)):
            text = f"{recorded.at - self._view.began:7.1f} s  {text}"
        if text:
            self._say(text)

    def delta(self, agent: str, chunk: Chunk) -> None:
        if isinstance(chunk, Waiting):
            self._view.delta(agent, chunk)
            if (lane := self._view.lanes.get(agent)) and lane.waits:
                self._say(f"{agent} is {waiting(lane.waits)}")

    def __exit__(self, *_: object) -> None:
        for text in summary(self._view, self._clock(), self._session):
            self._say(text)

    def _say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def told(fact: Fact, view: View) -> str:
    """`fact` as one line, given the `view` that has just seen it; empty if it is not worth one."""
    match fact:
        case Asked() | Resumed() | PlanChanged():
            return _planned(fact, view)
        case VotingOpened(why):
            return f"voting opened: {why}"
        case Chosen():
            return f"chosen: {view.winner} ({_margin(fact)})"
        case Stopped(why):
            return "" if why == "answered" else f"stopped: {why}"
        case TurnBegan() | Informed() | Said() | Spent() | Waited() | ToolCalled() | ToolReturned():
            return ""
        case _:
            return f"{fact.agent} {did}" if (did := _did(fact, view)) else ""


def _planned(fact: Asked | Resumed | PlanChanged, view: View) -> str:
    match fact:
        case Asked(question, roster):
            return f"asked {', '.join(member.id for member in roster)}: {line(question, WIDEST)}"
        case Resumed():
            return _because("the run goes on", str(view.change))
        case PlanChanged(agent):  # before the question it is one of an earlier question
            return line(f"{agent} {view.planned}".strip(), WIDEST) if view.state.asked else ""


def detail(fact: Fact, view: View) -> str:
    """A fact that `told` passes over, as one line; empty for those it does not."""
    match fact:
        case ToolCalled() | ToolReturned():
            return line(f"{fact.agent} {_use(fact, view)}", WIDEST)
        case TurnBegan(agent, purpose, ballot):
            seen = f", shown {len(ballot)} answer{'s' * (len(ballot) != 1)}" if ballot else ""
            return f"{agent} begins turn: {purpose}{seen}"
        case Informed(agent, _, ballot):
            return f"{agent} was shown what changed: {len(ballot)} answer{'s' * (len(ballot) != 1)} now"
        case Said(agent, _, message):
            calls = (f"{call.name} {call.arguments}" for call in message.tool_calls)
            return f"{agent} said: {line(' '.join(filter(None, [message.text, *calls])), WIDEST)}"
        case Waited() | Spent():
            return _called(fact)
        case _:
            return ""


def _called(fact: Waited | Spent) -> str:
    if isinstance(fact, Waited):
        return f"{fact.agent} waited {duration(fact.seconds)} for {line(fact.dimension, 60)}"
    used = f"{fact.input_tokens:,} tokens in, {fact.output_tokens:,} out, {duration(fact.seconds)}"
    return f"{fact.agent} called {line(fact.model, 80)}: {used}{'' if fact.cost is None else f', ${fact.cost:.4f}'}"


def _use(fact: ToolCalled | ToolReturned, view: View) -> str:
    match fact:
        case ToolCalled(_, _, _, name, arguments):
            return f"uses {name} {arguments}"
        case ToolReturned(agent):
            name = view.lanes[agent].used if agent in view.lanes else "a tool"
            return f"used {name} ({duration(fact.seconds)}){', which failed' if fact.is_error else ''}: {fact.content}"


def _margin(chosen: Chosen) -> str:
    votes = sum(chosen.tally.values())
    why = [] if chosen.why == "consensus" else [chosen.why]
    counted = [f"{chosen.tally.get(chosen.answer, 0)} of {votes} vote{'s' * (votes != 1)}"] if votes else []
    return ", ".join(counted + why) or chosen.why


_Deed: TypeAlias = Retried | Reprompted | Answered | Voted | TurnFailed | Presented | Evaluated | Summarised


def _did(fact: _Deed, view: View) -> str:
    match fact:
        case Retried(_, _, cause, delay):
            return _because(f"retries in {duration(delay)}", cause)
        case Reprompted():
            return _because("was asked again", fact.why)
        case Voted():
            return _because(f"voted for {view.author(fact.choice)}", fact.reason)
        case Evaluated():
            return _because(f"checked the final answer: {fact.verdict}", fact.reason)
        case Answered() | Presented() | Summarised():
            return _gave(fact, view)
        case TurnFailed():
            words = {"timeout": "dropped", "interrupted": "was interrupted", "cancelled": ""}
            did = words.get(fact.kind, "failed")
            return did and _because(did, fact.cause)


def _gave(fact: Answered | Presented | Summarised, view: View) -> str:
    lane = view.lanes[fact.agent]
    took = f"({duration(lane.took or 0.0)}, {lane.turn_tokens:,} tokens)"
    match fact:
        case Answered(agent):
            return f"answered {'anew ' * (view.state.seats[agent].given > 1)}{took}"
        case Summarised():
            return f"summarised the conversation before {took}"
        case Presented(turn=turn):
            return f"presented the final answer {took}" if turn else ""


def _because(what: str, why: str) -> str:
    return f"{what}: {line(why, WIDEST)}" if why else what
