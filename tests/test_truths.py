"""The truths of the design, held against random teams, failures, rules and interleavings."""

import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen.backends import Request
from massgen.coordination import Ask, Rules, ballot, due
from massgen.events import (
    Answered,
    Asked,
    Chosen,
    Fact,
    Member,
    Recorded,
    Retried,
    Stopped,
    TurnBegan,
    Voted,
    VotingOpened,
)
from massgen.log import read
from massgen.orchestrator import Times
from massgen.state import fold
from tests.oracle import Limits, check
from tests.stage import ACTS, Actor, Cue, Stage, agents, offered

pytestmark = pytest.mark.timeout(60)
QUICK = settings(max_examples=60, deadline=None)

cues = st.builds(
    Cue,
    act=st.one_of(st.sampled_from(["comply", "answer", "answer"]), st.sampled_from([*ACTS, "hang", "cancelled"])),
    n=st.integers(0, 5),
    delay=st.sampled_from([0.0, 1.0, 1.0, 2.0, 5.0, 90.0]),
)
rules = st.builds(
    Rules,
    max_new_answers_per_agent=st.sampled_from([1, 2, 3, None]),
    answer_novelty_requirement=st.sampled_from(["lenient", "balanced", "strict"]),
    first_answers=st.sampled_from(["independent", "as_they_come"]),
    stop=st.sampled_from(["consensus", "decided"]),
    skip_voting=st.booleans(),
    final_answer_strategy=st.sampled_from(["winner_present", "winner_reuse"]),
    max_restarts=st.sampled_from([0, 0, 1, 2]),
)
times = st.builds(
    Times,
    run=st.sampled_from([1800.0, 60.0, 3.0]),
    turn=st.sampled_from([600.0, 20.0]),
    patience=st.sampled_from([120.0, 2.0]),
)
NAMES = "abcdef"


@dataclass(frozen=True)
class Scene:
    """A random run, described."""

    team: tuple[tuple[Cue, ...], ...]
    rules: Rules
    times: Times
    seed: int

    def stage(self, folder: str) -> tuple[Stage, dict[str, Actor]]:
        cast = {NAMES[n]: Actor([*own], f"Answer {n} of its own.") for n, own in enumerate(self.team)}
        path = Path(folder) / "events.jsonl"
        return Stage(path, agents(cast), self.rules, self.times, seed=self.seed), cast

    @property
    def limits(self) -> Limits:
        rules = self.rules
        independent = rules.first_answers == "independent" or rules.skip_voting
        return Limits(rules.max_new_answers_per_agent, independent, rules.stop == "decided", rules.max_restarts)


scenes = st.builds(
    Scene,
    team=st.lists(st.lists(cues, max_size=7).map(tuple), min_size=1, max_size=6).map(tuple),
    rules=rules,
    times=times,
    seed=st.integers(0, 9),
)


@contextmanager
def folder() -> Iterator[str]:
    """A new folder, in memory where the system has such: thousands of logs are written here."""
    memory = Path("/dev/shm")  # noqa: S108 - a mount, not a file of ours
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield name


@settings(max_examples=150, deadline=None)
@given(scenes)
def test_every_run_ends_and_the_oracle_agrees_with_its_log(scene: Scene) -> None:
    with folder() as name:
        stage, cast = scene.stage(name)
        state = stage.run()
        check(stage.path, scene.limits)
        assert state.stopped
        assert state == fold(read(stage.path)), "the state that was lived is the state that is read"
        assert all(actor.unfinished == 0 for actor in cast.values()), "a model call leaked"


def acknowledged(data: bytes) -> bytes:
    """The whole lines of a log, without those whose facts belong with some that are missing."""
    lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    while lines and b'"more":true,' in lines[-1]:
        lines.pop()
    return b"".join(lines)


@QUICK
@given(scenes, st.floats(0, 1, exclude_max=True))
def test_a_log_cut_anywhere_resumes_to_a_verdict(scene: Scene, where: float) -> None:
    with folder() as name:
        stage, _ = scene.stage(name)
        stage.run()
        whole = stage.path.read_bytes()
        cut = int(len(whole) * where)
        stage.path.write_bytes(whole[:cut])
        scene.stage(name)[0].run()
        check(stage.path, scene.limits)
        assert stage.path.read_bytes().startswith(acknowledged(whole[:cut])), "what was recorded stays"


@pytest.mark.parametrize("revises", [False, True])
def test_a_log_cut_in_and_between_all_lines_resumes_to_a_verdict_and_costs_nobody_the_seat(revises: bool) -> None:
    """Two agents; with `revises` one answers anew while the other votes, so that a vote is void.

    That every single byte of a torn line recovers to the same facts is in test_log."""
    scene = Scene(((), (Cue("comply"), Cue("answer", 2, delay=3.0))) if revises else ((), ()), Rules(), Times(), 1)
    with folder() as name:
        stage, _ = scene.stage(name)
        stage.run()
        whole = stage.path.read_bytes()
        ends = [at for at, byte in enumerate(whole, 1) if byte == ord("\n")]
        for cut in sorted({0, *(end - back for end in ends for back in (0, 1, 40))} - {len(whole)}):
            stage.path.write_bytes(whole[:cut])
            stage.path.with_suffix(".torn").unlink(missing_ok=True)
            state = scene.stage(name)[0].run()
            check(stage.path, scene.limits)
            torn = whole[len(acknowledged(whole[:cut])) : cut]
            assert not torn or stage.path.with_suffix(".torn").read_bytes() == torn
            assert state.stopped == Stopped("answered")
            assert not any(seat.left for seat in state.seats.values())


@QUICK
@given(scenes)
def test_an_agent_is_offered_the_labels_it_was_shown_and_at_its_cap_only_the_vote(scene: Scene) -> None:
    cap = scene.rules.max_new_answers_per_agent

    def watch(agent: str, request: Request) -> None:
        seat, tools = stage.now.seats[agent], offered(request)
        capped = cap is not None and seat.given >= cap
        assert ({*tools} == {"vote"}) == (seat.purpose == "decide" and capped)
        assert {*tools.get("vote", [])} == ({*seat.ballot} if seat.purpose == "decide" else set())

    with folder() as name:
        stage, cast = scene.stage(name)
        for agent, actor in cast.items():
            actor.watch = partial(watch, agent)
        state = stage.run()
        assert not any("AssertionError" in seat.left for seat in state.seats.values()), state.seats


@QUICK
@given(st.integers(1, 5), st.integers(1, 6), st.sampled_from(["overloaded", "limited"]))
def test_a_passing_error_drops_nobody_and_a_lasting_one_does(failures: int, lasting: int, act: str) -> None:
    team = tuple((Cue(act, 1, 0.0),) * (failures if n else 0) for n in range(3))
    exhausted = (*team, (Cue(act, 1, 0.0),) * 6)
    for scene, left in ((Scene(team, Rules(), Times(), 0), set()), (Scene(exhausted, Rules(), Times(), 0), {"d"})):
        with folder() as name:
            stage, _ = scene.stage(name)
            state = stage.run()
            check(stage.path, scene.limits)
            assert {seat.agent for seat in state.seats.values() if seat.left} == left
            retried = Counter(
                recorded.fact.agent for recorded in read(stage.path) if isinstance(recorded.fact, Retried)
            )
            assert retried["b"] == failures
            assert state.stopped == Stopped("answered")


FATAL = ("refused", "defect", "hang", "cancelled", "limited for long")


@QUICK
@given(st.lists(st.sampled_from([*FATAL, "unknown", "empty", "overloaded"]), min_size=1, max_size=6))
def test_when_all_agents_fail_the_run_has_no_answer_and_every_seat_says_why(acts: list[str]) -> None:
    scene = Scene(tuple((Cue(act),) * 6 for act in acts), Rules(), Times(), 0)
    with folder() as name:
        stage, _ = scene.stage(name)
        state = stage.run()
        check(stage.path, scene.limits)
        assert state.stopped == Stopped("no answer")
        assert all(seat.left for seat in state.seats.values())


@QUICK
@given(st.integers(1, 6), st.lists(st.sampled_from([0.0, 1.0, 7.0]), min_size=12, max_size=12))
def test_a_team_that_revises_nothing_makes_2n_plus_1_calls_and_a_lone_agent_one(size: int, delays: list[float]) -> None:
    team = tuple((Cue("comply", 0, delays[n]), Cue("comply", n, delays[n + 6])) for n in range(size))
    scene = Scene(team, Rules(), Times(), 3)
    with folder() as name:
        stage, cast = scene.stage(name)
        state = stage.run()
        check(stage.path, scene.limits)
        expected = 2 * size + 1 if size > 1 else 1
        assert sum(len(actor.requests) for actor in cast.values()) == state.spent.calls == expected


def recorded(*facts: Fact) -> list[Recorded]:
    return [Recorded(seq, 0.0, fact) for seq, fact in enumerate(facts, 1)]


def answered(contents: list[str]) -> list[Fact]:
    """A team whose members have given `contents` and are about to vote."""
    names = NAMES[: len(contents)]
    facts: list[Fact] = [Asked("?", tuple(Member(name, "x", "x") for name in names))]
    facts += [TurnBegan(name, "answer") for name in names]
    facts += [Answered(name, seq, content) for seq, (name, content) in enumerate(zip(names, contents, strict=True), 2)]
    return [*facts, VotingOpened("all answered")]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["x", "X.", "y", "z", "w"]), min_size=2, max_size=6), st.data())
def test_deciding_early_never_changes_the_winner(contents: list[str], data: st.DataObject) -> None:
    facts = answered(contents)
    state = fold(recorded(*facts))
    shown = {f"agent{n}": entry for n, entry in enumerate(state.entries, 1)}
    order = data.draw(st.permutations(NAMES[: len(contents)]))
    choices = [data.draw(st.sampled_from([*shown.values()]))[0] for _ in order]
    early: int | None = None
    for name, choice in zip(order, choices, strict=True):
        facts.append(TurnBegan(name, "decide", shown))
        facts.append(Voted(name, len(facts), choice, ""))
        state = fold(recorded(*facts))
        match due(state, Rules(stop="decided")):
            case [Chosen(answer)] if early is None:
                early = answer
            case _:
                pass
    match due(state, Rules()):
        case [Chosen(answer, tally, "consensus")]:
            assert answer == early
            assert sum(tally.values()) == len(contents)
        case other:
            raise AssertionError(f"all have voted, but due is {other}")


def test_every_position_of_the_ballot_is_equally_likely_for_every_answer() -> None:
    state = fold(recorded(*answered(["one", "two", "three", "four"])))
    rounds = 4000
    places = Counter[tuple[str, int]]()
    for seed in range(rounds):
        for label, (seq,) in ballot(state, random.Random(seed).shuffle).items():
            places[label, seq] += 1
    assert len(places) == 16
    expected = rounds / 4
    assert all(abs(count - expected) < 5 * (rounds * 0.25 * 0.75) ** 0.5 for count in places.values()), places


def test_voters_of_one_run_are_shown_the_answers_in_orders_of_their_own() -> None:
    scene = Scene(((),) * 6, Rules(), Times(), 5)
    with folder() as name:
        stage, _ = scene.stage(name)
        stage.run()
        shown = [
            tuple(r.fact.ballot.values()) for r in read(stage.path) if isinstance(r.fact, TurnBegan) and r.fact.ballot
        ]
    assert len({*shown[:6]}) == 6


@given(
    st.lists(
        st.sampled_from(["Sky.", " sky", "SKY", "sea", "ski", "re\u0301sume\u0301", "résumé"]), min_size=2, max_size=6
    )
)
def test_answers_equal_after_normalisation_are_one_entry(contents: list[str]) -> None:
    kinds = {"Sky.": "sky", " sky": "sky", "SKY": "sky", "re\u0301sume\u0301": "résumé"}
    state = fold(recorded(*answered(contents)))
    assert len(state.entries) == len({kinds.get(content, content) for content in contents})
    assert sorted(seq for entry in state.entries for seq in entry) == sorted(state.answers)
    assert [step for step in due(state, Rules()) if isinstance(step, Ask)] == [
        Ask(name, "decide") for name in NAMES[: len(contents)]
    ]
