"""Whole runs with scripted models: who is asked what and when, and what the log says of it."""

import asyncio
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from massgen import prompts
from massgen.acts import Act, Final, NewAnswer, Vote
from massgen.agents import Turn
from massgen.backends import Request
from massgen.coordination import Rules
from massgen.errors import LogError
from massgen.events import (
    Answered,
    Chosen,
    Fact,
    Informed,
    Presented,
    Recorded,
    Reprompted,
    Resumed,
    Said,
    Stopped,
    Summarised,
    TurnBegan,
    TurnFailed,
    Voted,
    VotingOpened,
)
from massgen.log import Log, read
from massgen.messages import Chunk, TextDelta
from massgen.orchestrator import Times
from massgen.state import GONE, State, fold
from massgen.testing import Scripted, ScriptedBackend, calls, says
from tests.oracle import Limits, check
from tests.stage import Actor, Cue, Stage, actors, agents, comply, offered, play


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def facts(path: Path, *kinds: type[Fact]) -> list[Any]:
    """The facts of `kinds` in the log at `path`, in order."""
    return [recorded.fact for recorded in read(path) if isinstance(recorded.fact, kinds)]


def prompt(request: Request) -> str:
    return "\n".join(message.text for message in request.messages)


def believer(own: str, creed: str) -> Callable[[Request], Scripted]:
    """A model that answers `own`, votes for the text `creed`, and presents `own` anew."""

    def reply(request: Request) -> Scripted:
        shown = dict(re.findall(r"<(agent\d+)>\n(.*)\n</agent\d+>", prompt(request)))
        if label := next((label for label, text in shown.items() if text == creed and "vote" in offered(request)), ""):
            return calls("vote", agent_id=label, reason=f"{creed} it is.")
        return comply(request, text=own) if offered(request) else says(f"Presented: {own}")

    return reply


@dataclass
class Recorder:
    """A sink that keeps what it is told."""

    facts: list[Recorded] = field(default_factory=list)
    deltas: list[tuple[str, Chunk]] = field(default_factory=list)

    def fact(self, recorded: Recorded) -> None:
        self.facts.append(recorded)

    def delta(self, agent: str, chunk: Chunk) -> None:
        self.deltas.append((agent, chunk))


# --- from question to answer ---------------------------------------------------------------------------------------


def test_models_answer_vote_and_the_winner_presents(path: Path) -> None:
    backends = {
        name: ScriptedBackend(believer(own, "Sea")) for name, own in (("a", "Sky"), ("b", "Sea"), ("c", "Salt"))
    }
    recorder = Recorder()
    state = Stage(path, agents(backends), sinks=[recorder]).run()
    check(path)
    assert state.presented
    assert (state.presented.agent, state.presented.content) == ("b", "Presented: Sea")
    assert recorder.facts == read(path)
    assert ("b", TextDelta("Presented: Sea")) in recorder.deltas
    assert [len(backend.requests) for backend in backends.values()] == [2, 3, 2]


def test_first_answers_are_given_without_sight_of_another(path: Path) -> None:
    cast = actors((Cue("comply"),), (Cue("comply", delay=9.0),))
    Stage(path, agents(cast)).run()
    assert "<answers>" not in prompt(cast["b"].requests[0])
    assert "<answers>" in prompt(cast["b"].requests[1])


def test_the_presenter_sees_its_answer_first_with_the_reasons_of_its_voters(path: Path) -> None:
    backends = {
        name: ScriptedBackend(believer(own, "Sea")) for name, own in (("a", "Sky"), ("b", "Sea"), ("c", "Salt"))
    }
    Stage(path, agents(backends)).run()
    task = backends["b"].requests[-1].messages[-1].text
    assert "<agent1>\nSea\n</agent1>" + "\n- vote for agent1: Sea it is." * 3 in task


def test_a_lone_agent_that_sends_itself_back_is_told_why(path: Path) -> None:
    cast = actors((Cue("comply"), Cue("restart")))
    state = Stage(path, agents(cast), Rules(max_restarts=1)).run()
    check(path, Limits(max_restarts=1))
    assert state.stopped == Stopped("answered")
    again = prompt(cast["a"].requests[2])
    assert "<previous_attempt>\nAnswer number 0.\n</previous_attempt>" in again
    assert "Explain." in again


# --- answers that arrive meanwhile ---------------------------------------------------------------------------------


def test_an_agent_at_work_learns_of_a_revised_answer_at_its_next_model_call(path: Path) -> None:
    cast = actors((Cue("comply"), Cue("answer", 2)), (Cue("comply"), Cue("unknown", delay=5.0)))
    Stage(path, agents(cast)).run()
    check(path)
    (informed,) = facts(path, Informed)
    assert informed.agent == "b"
    told = cast["b"].requests[2]
    assert "The answers have changed" in told.messages[-1].text
    assert "Rayleigh scattering" in told.messages[-1].text
    assert offered(told)["vote"] == [*informed.ballot]
    votes = [fact for fact in facts(path, Voted) if fact.agent == "b"]
    assert len(votes) == 1, "the vote on what it was told counts at once"


def test_an_answer_that_comes_late_is_offered_under_a_new_label(path: Path) -> None:
    cast = actors((), (Cue("comply"), Cue("unknown", delay=9.0)), (Cue("comply", delay=6.0),))
    Stage(path, agents(cast), times=Times(patience=2)).run()
    check(path)
    assert facts(path, VotingOpened) == [VotingOpened("patience ran out")]
    assert [offered(request)["vote"] for request in cast["b"].requests[1:3]] == [
        ["agent1", "agent2"],
        ["agent1", "agent2", "agent3"],
    ]


def test_without_news_an_agent_is_told_none(path: Path) -> None:
    cast = actors((), (Cue("comply"), Cue("unknown")))
    Stage(path, agents(cast)).run()
    assert facts(path, Informed) == []
    assert "The answers have changed" not in prompt(cast["b"].requests[2])


def test_a_vote_on_answers_that_have_changed_does_not_count_and_the_agent_is_asked_again(path: Path) -> None:
    cast = actors((Cue("comply"), Cue("answer", 2)), (Cue("comply"), Cue("comply", delay=5.0)))
    state = Stage(path, agents(cast)).run()
    check(path)
    assert [fact.agent for fact in facts(path, Voted)].count("b") == 2
    assert state.chosen
    assert sum(state.chosen.tally.values()) == 2


# --- time ----------------------------------------------------------------------------------------------------------


def test_an_agent_that_takes_too_long_leaves_and_the_others_go_on(path: Path) -> None:
    cast = actors((), (), (Cue("hang"),))
    state = Stage(path, agents(cast), times=Times(turn=30)).run()
    check(path)
    assert state.seats["c"].left == "no act within 30 s"
    assert state.stopped == Stopped("answered")
    assert cast["c"].unfinished == 0


@pytest.mark.parametrize("skip", [False, True])
def test_patience_is_measured_from_the_first_answer(path: Path, skip: bool) -> None:
    seen: list[float] = []

    class Clock(Recorder):
        def fact(self, recorded: Recorded) -> None:
            if isinstance(recorded.fact, VotingOpened):
                seen.append(asyncio.get_running_loop().time())

    cast = actors((Cue("comply", delay=10.0),), (Cue("comply", delay=12.0),), (Cue("comply", delay=400.0),))
    rules = Rules(skip_voting=skip, first_answers="as_they_come" if skip else "independent")
    Stage(path, agents(cast), rules, sinks=[Clock()]).run()
    check(path)
    assert seen == [pytest.approx(130.0)]


def test_when_the_run_takes_too_long_the_best_answer_so_far_is_taken(path: Path) -> None:
    cast = actors((), (Cue("comply"), Cue("hang")))
    state = Stage(path, agents(cast), times=Times(run=60)).run()
    check(path)
    assert state.stopped == Stopped("timeout")
    assert facts(path, Chosen)[0].why == "timeout"
    assert facts(path, Presented) == [Presented("a", None, "Answer number 0.")]
    assert not any(seat.left for seat in state.seats.values())


def test_when_the_run_takes_too_long_without_an_answer_it_has_none(path: Path) -> None:
    state = Stage(path, agents(actors((Cue("hang"),), (Cue("hang"),))), times=Times(run=60)).run()
    check(path)
    assert state.stopped == Stopped("timeout")
    assert facts(path, Presented) == []


# --- agents of any kind --------------------------------------------------------------------------------------------


@dataclass
class Freelance:
    """An agent that is not our loop."""

    act: Callable[[Turn], Awaitable[Act]]
    id: str = "free"

    async def turn(self, turn: Turn) -> Act:
        return await self.act(turn)

    async def aclose(self) -> None:
        """Nothing is held."""


async def good(turn: Turn) -> Act:
    match turn.purpose:
        case "answer":
            return NewAnswer(f"{turn.agent} says so")
        case "decide":
            return Vote(next(iter(turn.answers)))
        case _:
            return Final("So it is.")


async def clumsy(turn: Turn) -> Act:
    return Vote("agent1") if turn.purpose == "answer" else await good(turn)


async def cancelled_beneath(turn: Turn) -> Act:
    raise asyncio.CancelledError


def freelancers(*acts: Callable[[Turn], Awaitable[Act]]) -> dict[str, Freelance]:
    return {"abc"[place]: Freelance(act) for place, act in enumerate(acts)}


def test_agents_of_another_make_take_part(path: Path) -> None:
    state = Stage(path, freelancers(good, good)).run()
    assert state.stopped == Stopped("answered")
    assert facts(path, Presented)[0].content == "So it is."


def test_an_agent_that_ends_its_turn_in_the_wrong_act_leaves(path: Path) -> None:
    state = Stage(path, freelancers(good, clumsy)).run()
    (failed,) = facts(path, TurnFailed)
    assert (failed.agent, failed.kind) == ("b", "protocol")
    assert failed.cause == "This turn cannot end so, but in: NewAnswer."
    assert state.stopped == Stopped("answered")


def test_work_cancelled_by_a_library_is_a_failure_not_a_hang(path: Path) -> None:
    state = Stage(path, freelancers(good, cancelled_beneath)).run()
    assert state.seats["b"].left == "its own work was cancelled"
    assert state.stopped == Stopped("answered")


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (ValueError("boom"), "ValueError: boom"),
        (TimeoutError("the socket's"), "TimeoutError: the socket's"),
        (KeyError("choices"), "KeyError: 'choices'"),
        (RuntimeError("x" * 1_000_000), "RuntimeError: " + "x" * 1986),
    ],
)
def test_a_defect_of_one_agent_ends_its_turn_and_nothing_else(path: Path, error: Exception, left: str) -> None:
    async def defective(turn: Turn) -> Act:
        raise error

    state = Stage(path, freelancers(good, defective)).run()
    assert state.seats["b"].left == left
    assert state.stopped == Stopped("answered")


@pytest.mark.parametrize("late", [None, RuntimeError("late")])
def test_what_comes_of_a_turn_after_the_vote_was_over_is_not_recorded(path: Path, late: Exception | None) -> None:
    async def deaf(turn: Turn) -> Act:
        if turn.purpose != "decide":
            return await good(turn)
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            assert turn.news() is None, "a closed turn has no news"
        if late:
            raise late
        return Vote("agent1")

    async def vote_for_first(turn: Turn) -> Act:
        if turn.purpose != "decide":
            return await good(turn)
        return Vote(next(label for label, text in turn.answers.items() if text.startswith("a")))

    state = Stage(path, freelancers(vote_for_first, vote_for_first, deaf), Rules(stop="decided")).run()
    assert len(facts(path, Voted)) == 2
    assert [fact.kind for fact in facts(path, TurnFailed)] == ["cancelled"]
    assert state.stopped == Stopped("answered")
    assert isinstance(read(path)[-1].fact, Stopped)


async def slow_to_close(turn: Turn) -> Act:
    if turn.purpose != "decide":
        return await good(turn)
    try:
        await asyncio.sleep(1e6)
    finally:
        await asyncio.sleep(500)
    raise AssertionError


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_run_that_has_stopped_and_waits_for_a_call_to_close_does_not_stop_again(
    path: Path, interrupted: bool
) -> None:
    async def first(turn: Turn) -> Act:
        return (
            Vote(next(label for label, text in turn.answers.items() if text[0] == "a"))
            if turn.answers
            else await good(turn)
        )

    rules = Rules(stop="decided", final_answer_strategy="winner_reuse")
    stage = Stage(path, freelancers(first, first, slow_to_close), rules, Times(run=60))

    async def scene() -> None:
        run = asyncio.create_task(stage.perform())
        if interrupted:
            await asyncio.sleep(30)
            run.cancel()
        await asyncio.wait([run])

    play(scene())
    assert facts(path, Stopped) == [Stopped("answered")]
    assert isinstance(read(path)[-1].fact, Stopped)


def test_a_model_that_refuses_drops_its_agent_with_the_servers_words(path: Path) -> None:
    async def scene() -> None:
        with Log(path) as log:  # nobody watches this run
            stage = Stage(path, agents(actors((), (), (Cue("refused"),))))
            await stage.orchestrator(log).run(stage.asked)

    play(scene())
    check(path)
    assert facts(path, TurnFailed) == [TurnFailed("c", 4, "error", "HTTP 401: the key was refused")]


# --- interruption --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [0.5, 1.5, 2.5])
def test_an_interrupted_run_says_so_closes_its_calls_and_raises(path: Path, moment: float) -> None:
    cast = actors((), ())

    async def scene() -> None:
        run = asyncio.create_task(Stage(path, agents(cast)).perform())
        await asyncio.sleep(moment)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    play(scene())
    check(path)
    *_, failed, stopped = [recorded.fact for recorded in read(path)]
    assert stopped == Stopped("interrupted")
    assert isinstance(failed, TurnFailed)
    assert (failed.kind, failed.cause) == ("interrupted", "the run was stopped")
    assert all(actor.unfinished == 0 for actor in cast.values())


def test_finished_model_calls_are_not_paid_for_again_on_resume(path: Path) -> None:
    Stage(path, agents(actors((), ()))).run()
    lines = path.read_bytes().splitlines(keepends=True)
    opened = next(number for number, raw in enumerate(lines) if b"VotingOpened" in raw)
    path.write_bytes(b"".join(lines[: opened + 1]))
    cast = actors((), ())
    state = Stage(path, agents(cast)).run()
    check(path)
    assert sum(len(actor.requests) for actor in cast.values()) == 3
    assert state.spent.calls == 5


def test_turns_that_were_open_when_the_process_died_are_taken_up(path: Path) -> None:
    stage = Stage(path, agents(actors((), ())))
    with Log(path) as log:
        log.append(stage.asked)
        log.append(TurnBegan("a", "answer"))
    state = stage.run()
    check(path)
    assert not facts(path, TurnFailed)
    assert [began for began in facts(path, TurnBegan) if began.purpose == "answer"] == [
        TurnBegan("a", "answer"),
        TurnBegan("b", "answer"),
    ]
    assert state.stopped == Stopped("answered")


def cut_after(path: Path, kind: str, number: int = 1) -> None:
    """Leave of the log what there was when the fact number `number` of `kind` had been recorded."""
    lines = path.read_bytes().splitlines(keepends=True)
    (*_, last) = [place for place, raw in enumerate(lines) if f'"type":"{kind}"'.encode() in raw][:number]
    path.write_bytes(b"".join(lines[: last + 1]))


def test_a_reply_that_was_recorded_before_the_process_died_is_not_paid_for_again(path: Path) -> None:
    Stage(path, agents(actors((), ()))).run()
    cut_after(path, "Spent")
    before = read(path)
    cast = actors((), ())
    state = Stage(path, agents(cast)).run()
    check(path)
    assert sum(len(actor.requests) for actor in cast.values()) == 4
    assert state.stopped == Stopped("answered")
    said = facts(path, Said)[0]
    answered = next(fact for fact in facts(path, Answered) if fact.agent == said.agent)
    assert answered.turn == said.turn
    assert read(path)[: len(before)] == before


def test_a_turn_is_taken_up_in_the_middle_with_what_its_agent_was_shown_and_told(path: Path) -> None:
    """b is refused, hears of a's new answer, and is cut off before its second reply is."""
    cast = actors(
        (Cue("comply"), Cue("answer", 2)), (Cue("comply"), Cue("unknown", delay=5.0), Cue("comply", delay=5.0))
    )
    Stage(path, agents(cast)).run()
    cut_after(path, "Informed")
    assert facts(path, Reprompted)
    again = actors((), ())
    state = Stage(path, agents(again)).run()
    check(path)
    assert len(facts(path, Reprompted)) == 1
    assert len(facts(path, Informed)) == 1
    assert [*again["b"].requests[0].messages] == [*cast["b"].requests[2].messages]
    assert state.stopped == Stopped("answered")


def test_a_run_that_was_interrupted_goes_on_in_the_same_turns(path: Path) -> None:
    cast = actors((), (Cue("unknown"), Cue("hang")))

    async def scene() -> None:
        run = asyncio.create_task(Stage(path, agents(cast)).perform())
        await asyncio.sleep(10)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    play(scene())
    began = facts(path, TurnBegan)
    again = actors((), ())
    state = Stage(path, agents(again)).run()
    check(path)
    assert facts(path, TurnBegan)[: len(began) + 1][-1].purpose == "decide"
    assert len(again["b"].requests[0].messages) == 4, "the refused reply is told of, not asked for again"
    assert state.stopped == Stopped("answered")


def test_who_had_failed_is_back_when_the_run_goes_on(path: Path) -> None:
    state = Stage(path, agents(actors((Cue("refused"),), (Cue("refused"),)))).run()
    assert state.stopped == Stopped("no answer")
    state = Stage(path, agents(actors((), ()))).run()
    check(path)
    assert state.stopped == Stopped("answered")
    assert not any(seat.left for seat in state.seats.values())


def test_another_team_finishes_the_run_who_is_gone_leaves_and_who_is_new_joins(path: Path) -> None:
    Stage(path, agents(actors((), (), ()))).run()
    cut_after(path, "Answered", 2)
    cast = actors((), (), (), ())
    del cast["c"]
    state = Stage(path, agents(cast)).run()
    check(path)
    assert state.seats["c"].left == GONE
    assert state.seats["d"].given
    assert len(cast["a"].requests) + len(cast["b"].requests) <= 5
    assert state.stopped == Stopped("answered")


# --- a conversation ------------------------------------------------------------------------------------------------


def converse(path: Path, cast: dict[str, Actor], *questions: str, window: int = 0) -> State:
    stage = Stage(path, agents(cast))

    async def scene() -> State:
        with Log(path, clock=lambda: 1_790_000_000.0) as log:
            orchestrator = stage.orchestrator(log)
            for question in questions:
                await orchestrator.run(replace(stage.asked, question=question, window=window))
            return orchestrator.state

    return play(scene())


def test_the_next_question_comes_with_what_was_asked_and_answered_before(path: Path) -> None:
    cast = actors((), ())
    converse(path, cast, "One?", "Two?")
    first, second = (fact.content for fact in facts(path, Presented))
    state = converse(path, cast, "Three?")
    check(path)
    _, *told = cast["a"].requests[-1].messages
    assert [(message.role, message.text) for message in told[:4]] == [
        ("user", "One?"),
        ("assistant", first),
        ("user", "Two?"),
        ("assistant", second),
    ]
    assert "Three?" in told[4].text
    assert [each.question for each in state.history] == ["One?", "Two?"]
    assert state == fold(read(path))


def test_a_long_conversation_is_summarised_first_once(path: Path) -> None:
    cast = actors((), ())
    state = converse(path, cast, f"One? {'x' * 640}", "Two?", "Three?", "Four?", window=650)
    check(path)
    (summary,) = facts(path, Summarised)
    assert summary.until == 1
    assert [each.question for each in state.history] == ["Two?", "Three?"]
    assert state.summary == summary.content
    assert len(summary.content) <= 162
    asked = next(each for actor in cast.values() for each in actor.requests if "Summarise" in each.messages[0].text)
    assert "One? xxx" in asked.messages[1].text
    assert "Two?" not in asked.messages[1].text
    assert summary.content in cast["a"].requests[-1].messages[0].text


def test_a_question_that_was_left_unanswered_is_told_as_such(path: Path) -> None:
    converse(path, actors((Cue("refused"),)), "One?")
    cast = actors(())
    converse(path, cast, "Two?")
    assert [message.text for message in cast["a"].requests[0].messages][1:3] == ["One?", prompts.UNANSWERED]


def test_a_log_without_a_question_cannot_be_continued(path: Path) -> None:
    async def scene() -> None:
        with Log(path) as log:
            await Stage(path, agents(actors(()))).orchestrator(log).run(Resumed(()))

    with pytest.raises(LogError, match=r"events\.jsonl: the log holds no question"):
        play(scene())


# --- what stands around a run --------------------------------------------------------------------------------------


@dataclass
class Fragile(Recorder):
    """A sink that breaks at the first fact, or at the first delta."""

    breaks_at: str = "fact"

    def fact(self, recorded: Recorded) -> None:
        super().fact(recorded)
        if self.breaks_at == "fact":
            raise BrokenPipeError(32, "Broken pipe")

    def delta(self, agent: str, chunk: Chunk) -> None:
        super().delta(agent, chunk)
        raise ValueError("no such colour")


@pytest.mark.parametrize(("breaks_at", "noted"), [("fact", "BrokenPipeError"), ("delta", "ValueError: no such colour")])
def test_a_sink_that_raises_is_dropped_and_noted_and_the_run_goes_on(path: Path, breaks_at: str, noted: str) -> None:
    fragile, sound = Fragile(breaks_at=breaks_at), Recorder()
    orchestrator = play(Stage(path, agents(actors((), ())), sinks=[fragile, sound]).perform())
    check(path)
    assert len(fragile.facts if breaks_at == "fact" else fragile.deltas) == 1
    assert sound.facts == read(path)
    (note,) = orchestrator.notes
    assert note.startswith("Fragile was dropped: ")
    assert noted in note


FULL = """
    import pathlib, resource, signal, sys
    from massgen.errors import LogError
    from tests.oracle import check
    from tests.stage import Stage, actors, agents

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    unlimited = resource.RLIM_INFINITY
    folder = pathlib.Path(sys.argv[1])
    for limit in range(60, 3000, 190):
        path = folder / f"{limit}.jsonl"
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited))
        cast = actors((), ())
        try:
            Stage(path, agents(cast)).run()
        except LogError as error:
            assert "cannot be written" in str(error), error
            print("stopped")
        assert not any(actor.unfinished for actor in cast.values())
        resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
        Stage(path, agents(actors((), ()))).run()
        check(path)
"""


def test_a_full_disk_stops_the_run_at_once_and_it_resumes_when_there_is_space(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path)]
    root = Path(__file__).parent.parent
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=root)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.split()) > 10


def test_a_milestone_that_does_not_reach_the_disk_stops_the_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", sync)
        cast = actors((), ())
        with pytest.raises(LogError, match="Input/output error"):
            Stage(path, agents(cast)).run()
    assert not any(actor.unfinished for actor in cast.values())
    Stage(path, agents(cast)).run()
    check(path)
