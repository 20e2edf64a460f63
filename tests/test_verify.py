"""`massgen verify`: real runs agree with the rules, and each planted difference is told where it stands."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from massgen.cli import run
from massgen.coordination import Rules
from massgen.display.view import View
from massgen.errors import Exit
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
from massgen.exports import rendered
from massgen.importing import imported
from massgen.log import read
from massgen.orchestrator import Times
from massgen.planning import PlannedTask
from massgen.replay.recordings import load
from massgen.replay.verifying import Verified, verify
from massgen.sessions import LOG_NAME, create
from massgen.state import State, fold
from tests.conversations import SESSIONS, Process, Session, Shelf, Use, processes, worker
from tests.conversations import performed as conversed
from tests.stage import Cue, Stage, actors, agents, play
from tests.test_truths import Scene, folder, scenes

FEW = settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
GOLDEN = Path(__file__).parent / "golden" / "format-1.jsonl"
RULES, TIMES = Rules(), Times()
HARD = Rules(max_new_answers_per_agent=1, max_restarts=1, stop="decided")


def performed(path: Path, *cues: Sequence[Cue], rules: Rules = RULES, times: Times = TIMES) -> list[Recorded]:
    """The facts of a run of actors."""
    Stage(path, agents(actors(*cues)), rules, times).run()
    return [*read(path)]


def held(facts: Sequence[Recorded], rules: Rules = RULES) -> Verified:
    return verify(facts, lambda asked: rules)


def told(facts: Sequence[Recorded], rules: Rules = RULES) -> tuple[int, str]:
    """Where the first difference is, and what the rules say there."""
    difference = held(facts, rules).difference
    assert difference, "no difference was found"
    return difference.seq, difference.rules


def first(facts: Sequence[Recorded], kind: type[Fact], number: int = 0) -> Recorded:
    return [recorded for recorded in facts if isinstance(recorded.fact, kind)][number]


def changed(facts: Sequence[Recorded], place: Recorded, **fields: Any) -> list[Recorded]:
    fact: Any = replace(place.fact, **fields)
    return [replace(each, fact=fact) if each is place else each for each in facts]


def without(facts: Sequence[Recorded], place: Recorded) -> list[Recorded]:
    return [each for each in facts if each is not place]


def before(facts: Sequence[Recorded], place: Recorded, fact: Fact) -> list[Recorded]:
    at = facts.index(place)
    return [*facts[:at], Recorded(place.seq, place.at, fact), *facts[at:]]


@pytest.fixture
def facts(tmp_path: Path) -> list[Recorded]:
    """Three agents answer, vote, and one presents."""
    return performed(tmp_path / LOG_NAME, (), (), ())


# --- what is so ----------------------------------------------------------------------------------------------------


@FEW
@given(scenes, st.floats(0, 1, exclude_max=True))
def test_every_run_agrees_with_the_rules_and_so_does_each_of_its_beginnings(scene: Scene, where: float) -> None:
    with folder() as name:
        stage, _ = scene.stage(name)
        stage.run()
        facts = [*read(stage.path)]
        assert held(facts, scene.rules) == Verified(len(facts))
        data = stage.path.read_bytes()
        header = data.index(b"\n") + 1
        stage.path.write_bytes(data[: header + int((len(data) - header) * where)])
        part = held([*read(stage.path)], scene.rules)
        assert part.difference is None
        assert part.due


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(processes)
def test_every_session_agrees_with_the_rules_however_its_processes_ended(run: list[Process]) -> None:
    with folder() as name:
        facts, rules = conversed(Path(name) / LOG_NAME, run)
    verified = verify(facts, rules)
    assert (verified.facts, verified.difference) == (len(facts), None)
    assert bool(verified.due) == (fold(facts).stopped is None)


@FEW
@given(scenes, st.data())
def test_a_fact_that_is_missing_or_there_twice_is_told(scene: Scene, data: st.DataObject) -> None:
    with folder() as name:
        stage, _ = scene.stage(name)
        stage.run()
        facts = [*read(stage.path)]
    bound = (TurnBegan, Answered, TurnFailed, VotingOpened, Chosen, Presented, Evaluated, Stopped)
    place = data.draw(st.sampled_from([each for each in facts if isinstance(each.fact, bound)]))
    less, more = held(without(facts, place), scene.rules), held(before(facts, place, place.fact), scene.rules)
    assert less.difference or less.due
    assert more.difference


@pytest.mark.parametrize("moment", [0.5, 1.5, 2.5])
def test_a_run_that_was_stopped_agrees_with_the_rules(tmp_path: Path, moment: float) -> None:
    async def scene() -> None:
        performing = asyncio.create_task(Stage(tmp_path / LOG_NAME, agents(actors((), ()))).perform())
        await asyncio.sleep(moment)
        performing.cancel()
        await asyncio.wait([performing])

    play(scene())
    facts = [*read(tmp_path / LOG_NAME)]
    assert facts[-1].fact == Stopped("interrupted")
    assert held(facts) == Verified(len(facts))


def test_a_second_question_is_verified_by_its_own_rules(tmp_path: Path, facts: list[Recorded]) -> None:
    again = performed(tmp_path / "again.jsonl", ())[0]
    asked, used = replace(again, seq=len(facts) + 1), list[Asked | Resumed]()

    def rules(asked: Asked | Resumed) -> Rules:
        used.append(asked)
        return RULES

    found = verify([*facts, asked], rules)
    assert found == Verified(len(facts) + 1, due="TurnBegan: a is asked (solo) and shown no answer")
    assert used == [facts[0].fact, asked.fact]
    assert told([*facts[:3], asked]) == (asked.seq, "the turns that are open are ended first")


def test_a_wait_may_be_told_of_after_its_turn_has_ended(facts: list[Recorded]) -> None:
    late = Recorded(len(facts) + 1, 0.0, Waited("a", 2, "rpm", 5, 5, 1.0))
    assert held([*facts, late]).difference is None
    stranger = replace(late, fact=replace(late.fact, agent="z"))
    assert told([*facts, stranger])[1] == "there is no agent z in the team"


def test_a_run_without_its_end_says_what_is_due(facts: list[Recorded]) -> None:
    assert held([]).due == "a question is asked first"
    assert held(facts[:1]).due == "TurnBegan: a is asked (answer) and shown no answer"
    assert held(facts[:4]).due == "nothing is due before an agent at work has ended its turn"
    assert held(facts[:-1]).due == '{"type": "Stopped", "why": "answered"}'


@pytest.mark.parametrize("name", SESSIONS)
def test_the_golden_logs_of_real_runs_agree_with_the_rules(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = create()
    (made / LOG_NAME).write_bytes((GOLDEN.parent / f"format-1-{name}.jsonl").read_bytes())
    assert run(["verify", str(made)]) == Exit.ANSWER
    assert capsys.readouterr().out.endswith("facts agree with the rules\n")


@pytest.mark.parametrize("name", SESSIONS)
def test_runs_like_those_of_the_golden_logs_are_as_they_were(name: str, tmp_path: Path) -> None:
    def shape(facts: Sequence[Recorded]) -> list[Fact]:
        """Without how long calls took, and the words of tools and in which agents are asked again."""
        told: list[Fact] = []
        for fact in (each.fact for each in facts if not isinstance(each.fact, Spent)):
            match fact:
                case Reprompted():
                    told.append(replace(fact, why=""))
                case ToolReturned():
                    told.append(replace(fact, content="", seconds=0.0))
                case _:
                    told.append(fact)
        return told

    golden = read(GOLDEN.parent / f"format-1-{name}.jsonl")
    assert shape(SESSIONS[name](tmp_path / LOG_NAME).facts) == shape(golden)


# --- a run that goes on, a conversation that is summarised -----------------------------------------------------------


@pytest.fixture
def taken_up() -> list[Recorded]:
    return [*read(GOLDEN.parent / "format-1-taken-up.jsonl")]


@pytest.fixture
def summarised() -> list[Recorded]:
    return [*read(GOLDEN.parent / "format-1-three-questions.jsonl")]


def test_a_run_that_has_its_answer_does_not_go_on(facts: list[Recorded]) -> None:
    end = Recorded(len(facts) + 1, 0.0, Resumed(()))
    assert told([*facts, end]) == (end.seq, "there is nothing to go on with: the question has its final answer")
    assert told([end]) == (end.seq, "there is nothing to go on with: a question is asked first")


def test_a_run_goes_on_only_once_the_log_says_so(taken_up: list[Recorded]) -> None:
    one = first(taken_up, Resumed)
    assert told(without(taken_up, one)) == (one.seq + 1, "bob has no open turn 3: the run has stopped")


def test_a_turn_is_taken_up_and_not_begun_again(taken_up: list[Recorded]) -> None:
    for place in (0, 1):
        resumed = first(taken_up, Resumed, place)
        later = taken_up[taken_up.index(resumed) + 1]
        assert isinstance(later.fact, Said)
        again = TurnBegan(later.fact.agent, "answer" if place == 0 else "decide", {})
        seq, rules = told(before(taken_up, later, again))
        assert (seq, rules) == (later.seq, "nothing is due before an agent at work has ended its turn")


def test_who_is_no_more_in_the_team_says_nothing_more(taken_up: list[Recorded]) -> None:
    resumed = first(taken_up, Resumed)
    assert isinstance(resumed.fact, Resumed)
    alice, bob, carol = resumed.fact.roster
    nothing = "nothing is due before an agent at work has ended its turn"
    assert told(changed(taken_up, resumed, roster=(alice, carol))) == (
        resumed.seq + 1,
        f"bob has no open turn 3: {nothing}",
    )
    other = replace(bob, model="other")
    assert told(changed(taken_up, resumed, roster=(alice, other, carol))) == (
        resumed.seq + 1,
        "TurnBegan: bob is asked (answer) and shown no answer",
    )


def test_what_is_due_comes_before_what_is_said_in_a_turn_that_was_taken_up() -> None:
    facts = [*read(GOLDEN.parent / "format-1-other-team.jsonl")]
    began = [each for each in facts if isinstance(each.fact, TurnBegan) and each.seq > first(facts, Resumed).seq]
    assert held(facts).difference, "the rules are those that it went on by"
    rules = Rules(final_answer_strategy="winner_reuse", max_new_answers_per_agent=1)
    assert held(facts, rules) == Verified(len(facts))
    assert told(without(facts, began[2]), rules)[1] == "TurnBegan: erin is asked (answer) and shown no answer"


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        ({"until": 25}, '"until": 1, "content": "The capital is Canberra, a compromise."}'),
        ({"content": "x" * 46}, f'"content": "{"x" * 45}"}}'),
        ({"content": " "}, "The summary was empty. Write it."),
        ({"agent": "bob"}, "bob has no open turn 50"),
    ],
)
def test_a_summary_is_of_all_that_is_to_be_summarised_and_short(
    fields: dict[str, Any], rules: str, summarised: list[Recorded]
) -> None:
    fact = first(summarised, Summarised)
    seq, said = told(changed(summarised, fact, **fields))
    assert seq == fact.seq
    assert rules in said


def test_a_conversation_that_is_too_long_is_summarised_before_anyone_answers(summarised: list[Recorded]) -> None:
    began = next(each for each in summarised if each.fact == TurnBegan("alice", "summarise"))
    seq, rules = told(without(summarised, began))
    assert (seq, rules) == (began.seq + 1, "TurnBegan: alice is asked (summarise) and shown no answer")
    asked = first(summarised, Asked, 2)
    assert told(changed(summarised, asked, window=0))[0] == began.seq
    assert told(changed(summarised, began, purpose="solo"))[1].startswith("TurnBegan: alice is asked (summarise)")


@pytest.mark.parametrize(
    "fact", [Presented("alice", 50, "Canberra."), Evaluated("alice", 50, "submit"), Answered("alice", 50, "Canberra.")]
)
def test_a_turn_ends_as_its_purpose_says(fact: Fact, summarised: list[Recorded]) -> None:
    seq, rules = told(before(summarised, first(summarised, Summarised), fact))
    assert seq == first(summarised, Summarised).seq
    assert "cannot end so" in rules


def test_what_an_agent_says_after_the_end_is_told(tmp_path: Path) -> None:
    facts = performed(tmp_path / LOG_NAME, (), rules=HARD)
    place = first(facts, TurnBegan, -1).seq
    ended = [Resumed(facts[0].fact.roster if isinstance(facts[0].fact, Asked) else ()), Stopped("answered")]
    later = [*(each.fact for each in facts[:place]), *ended, facts[place].fact]
    found = verify(
        [Recorded(seq, 0.0, fact) for seq, fact in enumerate(later, 1)],
        lambda fact: HARD if isinstance(fact, Asked) else RULES,
    )
    assert found.difference, "it was checking its answer, which the rules that the run went on by do not want"


# --- planted differences -------------------------------------------------------------------------------------------


def test_another_vote_is_told_at_the_count(facts: list[Recorded]) -> None:
    voted, chosen = first(facts, Voted), first(facts, Chosen)
    assert isinstance(voted.fact, Voted)
    answers = [each.seq for each in facts if isinstance(each.fact, Answered)]
    other = next(seq for seq in answers if seq != voted.fact.choice)
    seq, rules = told(changed(facts, voted, choice=other))
    assert seq == chosen.seq
    assert '"type": "Chosen"' in rules


def test_another_winner_is_told(facts: list[Recorded]) -> None:
    chosen = first(facts, Chosen)
    assert isinstance(chosen.fact, Chosen)
    other = next(each.seq for each in facts if isinstance(each.fact, Answered) and each.seq != chosen.fact.answer)
    seq, rules = told(changed(facts, chosen, answer=other))
    assert seq == chosen.seq
    assert f'"answer": {chosen.fact.answer}' in rules


@pytest.mark.parametrize("fields", [{"why": "decided"}, {"tally": {}}])
def test_another_reason_or_count_of_the_choice_is_told(facts: list[Recorded], fields: dict[str, Any]) -> None:
    chosen = first(facts, Chosen)
    assert told(changed(facts, chosen, **fields))[0] == chosen.seq


@pytest.mark.parametrize("number", [0, 2])
def test_a_missing_fact_is_told_at_the_one_after_it(facts: list[Recorded], number: int) -> None:
    missing = first(facts, TurnBegan, number)
    seq, rules = told(without(facts, missing))
    assert seq == missing.seq + 1
    assert rules.startswith(f"TurnBegan: {'abc'[number]} is asked (answer)")


def test_a_ballot_that_hides_an_answer_is_told(facts: list[Recorded]) -> None:
    began = first(facts, TurnBegan, 3)
    assert isinstance(began.fact, TurnBegan)
    hidden = {label: entry for label, entry in began.fact.ballot.items() if label != "agent3"}
    seq, rules = told(changed(facts, began, ballot=hidden))
    assert seq == began.seq
    shown = ", ".join(str(each.seq) for each in facts if isinstance(each.fact, Answered))
    assert f"a is asked (decide) and shown every current answer ({shown};" in rules


def test_a_first_answer_that_was_not_independent_is_told(facts: list[Recorded]) -> None:
    began = first(facts, TurnBegan, 1)
    assert told(changed(facts, began, ballot={"agent1": (8,)}))[0] == began.seq


def test_a_winner_that_was_not_shown_first_is_told(facts: list[Recorded]) -> None:
    began = first(facts, TurnBegan, -1)
    assert isinstance(began.fact, TurnBegan)
    turned = {f"agent{n}": entry for n, entry in enumerate(reversed([*began.fact.ballot.values()]), 1)}
    seq, rules = told(changed(facts, began, ballot=turned))
    assert seq == began.seq
    assert rules.endswith("the winner's first")


def test_a_vote_for_what_was_not_shown_is_told(facts: list[Recorded]) -> None:
    voted = first(facts, Voted)
    seq, rules = told(changed(facts, voted, choice=999))
    assert seq == voted.seq
    assert "There is no answer 'number 999'. Vote for one of: agent1, agent2, agent3." in rules


def test_an_act_that_the_rules_refuse_is_told(facts: list[Recorded]) -> None:
    answered, presented = first(facts, Answered), first(facts, Presented)
    assert "The answer was empty" in told(changed(facts, answered, content=" "))[1]
    assert "The final answer was empty" in told(changed(facts, presented, content=""))[1]
    voted = first(facts, Voted)
    assert isinstance(voted.fact, Voted)
    again = Answered(voted.fact.agent, voted.fact.turn, "Another.")
    assert "all the answers you may" in told(before(facts, voted, again), HARD)[1]


def test_what_an_agent_did_in_no_turn_of_its_own_is_told(facts: list[Recorded]) -> None:
    said = first(facts, Said)
    assert told(changed(facts, said, turn=3)) == (
        said.seq,
        "a has no open turn 3: nothing is due before an agent at work has ended its turn",
    )
    assert "z has no open turn 2" in told(changed(facts, said, agent="z"))[1]
    end = Recorded(len(facts) + 1, 0.0, said.fact)
    assert told([*facts, end]) == (end.seq, "a has no open turn 2: the run has stopped")
    assert told([*facts, replace(end, fact=Stopped("answered"))]) == (end.seq, "the run has stopped")
    assert told(facts[1:]) == (2, "a question is asked first")


def test_a_vote_that_opened_too_early_or_for_the_wrong_reason_is_told(facts: list[Recorded]) -> None:
    opened, answered = first(facts, VotingOpened), first(facts, Answered)
    assert told(before(facts, answered, VotingOpened("patience ran out")))[0] == answered.seq
    later = facts[facts.index(answered) + 1]
    assert told(before(facts, later, VotingOpened("all answered")))[0] == later.seq
    assert held(changed(facts, opened, why="patience ran out")).difference is None, "time is not for rules to say"


def test_who_acts_before_what_is_due_is_done_is_told(facts: list[Recorded]) -> None:
    chosen = first(facts, Chosen)
    presents = facts[facts.index(chosen) + 1]
    assert told(before(facts, presents, Spent("a", 2, "m", 1, 1, None, 1.0)))[1].startswith("TurnBegan: ")


def test_an_end_in_time_that_leaves_something_out_is_told(tmp_path: Path) -> None:
    slow = (Cue("comply"), Cue("hang"))
    facts = performed(tmp_path / LOG_NAME, slow, slow, times=Times(run=30))
    assert held(facts) == Verified(len(facts))
    *_, one, other, chosen, presented, stopped = facts
    assert isinstance(one.fact, TurnFailed)
    for missing, found in ((other, chosen), (chosen, presented), (presented, stopped)):
        assert told(without(facts, missing))[0] == found.seq
    assert told(before(facts, chosen, replace(one.fact, kind="error")))[1].startswith('{"type": "Chosen"')
    assert held(facts[:-1]).due == '{"type": "Stopped", "why": "timeout"}'


def test_what_an_agent_was_told_of_is_every_current_answer(tmp_path: Path) -> None:
    late = (Cue("comply"), Cue("unknown", delay=5.0))
    facts = performed(tmp_path / LOG_NAME, late, (Cue("comply"), Cue("answer", n=2)), (Cue("comply"),))
    informed = first(facts, Informed)
    assert isinstance(informed.fact, Informed)
    assert held(facts) == Verified(len(facts))
    seq, rules = told(changed(facts, informed, ballot=dict(reversed([*informed.fact.ballot.items()]))))
    assert seq == informed.seq
    assert json.loads(rules)["ballot"] == {label: [*entry] for label, entry in informed.fact.ballot.items()}
    assert told(before(facts, informed, informed.fact))[1] == "there is nothing that a has not seen"


def test_a_long_difference_is_told_where_it_is(tmp_path: Path) -> None:
    rules = Rules(final_answer_strategy="winner_reuse")
    facts = performed(tmp_path / LOG_NAME, (), rules=rules)
    long = changed(facts, first(facts, Answered), content="x" * 5_000 + "one way")
    difference = held(changed(long, first(facts, Presented), content="x" * 5_000 + "another way"), rules).difference
    assert difference
    assert "another way" in difference.log
    assert "one way" in difference.rules
    assert max(len(difference.log), len(difference.rules)) <= 300


@FEW
@given(scenes, st.randoms(use_true_random=False))
def test_no_order_of_facts_makes_it_crash(scene: Scene, dice: Any) -> None:
    with folder() as name:
        stage, _ = scene.stage(name)
        stage.run()
        facts = [*read(stage.path)]
    start = facts[: dice.randrange(len(facts))]
    assert held([*start, *dice.sample(facts, len(facts))], scene.rules).facts >= len(start)


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def session() -> Path:
    """A session of three agents that has come to its end."""
    made = create()
    performed(made / LOG_NAME, (), (), ())
    return made


def edited(session: Path, edit: Callable[[str], str]) -> Path:
    log = session / LOG_NAME
    log.write_text(edit(log.read_text("utf-8")), "utf-8")
    return log


def test_the_command_says_that_all_is_well(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = len(read(session / LOG_NAME))
    for arguments in ([], [session.name[:10]], [str(session)]):
        assert run(["verify", *arguments]) == Exit.ANSWER
        assert capsys.readouterr() == (f"{session / LOG_NAME}: {count} facts agree with the rules\n", "")


def test_the_command_tells_a_difference_with_its_line(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = edited(session, lambda text: text.replace('"why":"consensus"', '"why":"decided"'))
    chosen = first(read(log), Chosen)
    assert run(["verify", str(session)]) == Exit.NO_ANSWER
    head, ours, theirs = capsys.readouterr().out.splitlines()
    assert head == f"{log}:{chosen.seq + 1}: fact {chosen.seq} differs from the rules"
    assert ours.startswith('  the log:   {"type": "Chosen"')
    assert ours.endswith('"why": "decided"}')
    assert theirs.endswith('"why": "consensus"}')


def test_the_command_says_what_is_due_in_a_run_without_its_end(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(session, lambda text: "".join(text.splitlines(keepends=True)[:-1]))
    assert run(["verify"]) == Exit.ANSWER
    said = capsys.readouterr().err
    assert said == 'massgen: the run has not stopped; now due: {"type": "Stopped", "why": "answered"}\n'


def test_the_rules_are_those_of_the_recorded_configuration(
    session: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def configured(**settings: Any) -> Callable[[str], str]:
        def edit(text: str) -> str:
            header, asked, rest = text.split("\n", 2)
            fields = {**json.loads(asked), "config": {"orchestrator": settings}}
            return "\n".join([header, json.dumps(fields), rest])

        return edit

    edited(session, configured(final_answer_strategy="winner_reuse"))
    assert run(["verify"]) == Exit.NO_ANSWER
    assert 'the rules: {"type": "Presented"' in capsys.readouterr().out
    edited(session, configured(stop="${STOP}"))
    assert run(["verify"]) == Exit.USAGE
    assert "orchestrator.stop: the variable STOP is not set" in capsys.readouterr().err
    monkeypatch.setenv("STOP", "consensus")
    assert run(["verify"]) == Exit.ANSWER
    capsys.readouterr()
    edited(session, configured(stop="never"))
    assert run(["verify"]) == Exit.USAGE
    assert "this version knows: orchestrator.stop: 'never' is not allowed" in capsys.readouterr().err


def test_of_an_imported_session_it_is_said_why_it_may_differ(
    tmp_path: Path, summarised: list[Recorded], capsys: pytest.CaptureFixture[str]
) -> None:
    exported = tmp_path / "talk.json"
    exported.write_text(rendered(summarised, "json"), "utf-8")
    folder = imported(exported).folder
    assert run(["verify", folder.name]) == Exit.NO_ANSWER
    out, err = capsys.readouterr()
    assert "differs from the rules\n" in out
    why = "it holds no model call: a session that was imported tells what was said, not all that led to it"
    assert err == f"massgen: {why}\n"


# --- tools and plans -------------------------------------------------------------------------------------------------

TEAM = Rules(planning="team")


@pytest.fixture
def used(tmp_path: Path) -> list[Recorded]:
    """Tools are used, and a turn with some of them is taken up again."""
    return SESSIONS["tools"](tmp_path / "used.jsonl").facts


@pytest.fixture
def planned(tmp_path: Path) -> list[Recorded]:
    """A team's plan: alice makes it, bob takes a task and leaves."""
    return SESSIONS["plan"](tmp_path / "planned.jsonl").facts


def test_a_result_belongs_to_a_use_of_its_turn_that_has_none_yet(used: list[Recorded]) -> None:
    result = first(used, ToolReturned)
    call = first(used, ToolCalled, 4)
    assert held(used).difference is None
    assert call.fact == ToolCalled("carol", 4, "call_0_0", "read_file", '{"path": ')
    missing = "no use of a tool with the id call_0_0 is open in the turn 4"
    assert told(without(used, call)) == (result.seq, missing)
    assert told(before(used, used[used.index(result) + 1], result.fact))[1] == missing
    assert told(changed(used, result, call="other"))[1] == missing.replace("call_0_0", "other")


def test_tools_are_used_in_open_turns_alone(used: list[Recorded]) -> None:
    call = first(used, ToolCalled)
    assert told(changed(used, call, turn=1))[1].startswith("alice has no open turn 1: ")
    late = Recorded(used[-1].seq + 1, 0.0, call.fact)
    assert told([*used, late])[1].startswith("alice has no open turn 2: ")


def test_what_an_agent_that_left_had_taken_is_given_back_first_of_all(planned: list[Recorded]) -> None:
    back = next(each for each in planned if isinstance(each.fact, PlanChanged) and each.fact.turn is None)
    assert held(planned, TEAM).difference is None
    seq, rules = told(without(planned, back), TEAM)
    assert (seq, json.loads(rules)["type"]) == (back.seq + 1, "PlanChanged")
    assert json.loads(told(changed(planned, back, tasks=()), TEAM)[1])["agent"] == "bob"
    assert told(before(planned, planned[4], back.fact), TEAM)[1].startswith("nothing is due")
    part = planned[: planned.index(back)]
    assert json.loads(held(part, TEAM).due)["turn"] is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"plan": "alice"}, "alice cannot change this plan in a turn with the purpose answer"),
        ({"tasks": (PlannedTask("a", "A", ("b",)), PlannedTask("b", "B", ("a",)))}, "Leave out a dependency of each"),
        ({"tasks": (PlannedTask("a", "A", ("b",)),)}, "Not in the plan: a -> b. There are: a."),
        ({"tasks": tuple(PlannedTask(f"t{number}", "A") for number in range(101))}, "A plan has at most 100 tasks"),
        ({"tasks": (PlannedTask("a", "A"), PlannedTask("b", "B", ("a",), "completed"))}, "b cannot be completed while"),
    ],
)
def test_a_change_is_one_that_the_tools_of_plans_make(
    fields: dict[str, Any], why: str, planned: list[Recorded]
) -> None:
    change = first(planned, PlanChanged)
    assert told(changed(planned, change, **fields), TEAM)[1].startswith(why)


def test_a_change_is_within_the_rules_of_its_question(planned: list[Recorded]) -> None:
    change = first(planned, PlanChanged)
    assert told(planned, Rules())[1] == "alice cannot change this plan in a turn with the purpose answer"
    assert told(planned, Rules(planning="agent"))[0] == change.seq
    assert told(planned, Rules(planning="team", max_tasks_per_plan=2))[1].startswith("A plan has at most 2 tasks; this")
    assert told(planned, Rules(planning="team", max_tasks_per_plan=3))[0] > first(planned, Asked, 1).seq, "one is added"


def test_nobody_changes_what_another_has_taken(planned: list[Recorded]) -> None:
    taken = next(each for each in planned if isinstance(each.fact, PlanChanged) and each.fact.agent == "bob")
    assert isinstance(taken.fact, PlanChanged)
    turn = first(planned, TurnBegan, 2)
    assert turn.fact == TurnBegan("carol", "answer")
    stolen = PlanChanged("alice", 2, "", taken.fact.tasks)
    following = planned[planned.index(taken) + 1]
    still = [each for each in planned if not (isinstance(each.fact, Answered) and each.fact.agent == "alice")]
    place = still[still.index(following)]
    assert told(before(still, place, stolen), TEAM)[1] == "check is bob's, and not for alice to change"


USES: list[Use] = [
    ("read_file", {"path": "notes.md"}),
    ("read_file", "[1]"),
    ("write_file", {"path": "a.md"}),
    ("create_task_plan", {"tasks": ["Read", "Write"]}),
    ("add_task", {"description": "Check"}),
    ("get_ready_tasks", {}),
    ("update_task_status", {"task_id": "t1", "status": "in_progress"}),
    ("update_task_status", {"task_id": "t1", "status": "completed"}),
]
_teams = st.lists(st.lists(st.lists(st.sampled_from(USES), max_size=3), max_size=4), min_size=1, max_size=3)


@FEW
@given(
    st.lists(st.tuples(_teams, st.sampled_from([None, 1.5, 2.5, 30.0]), st.booleans()), min_size=1, max_size=3),
    st.sampled_from(["off", "agent", "team"]),
)
def test_however_tools_are_used_and_runs_interrupted_all_folds_of_the_facts_agree(
    run: list[tuple[list[list[list[Use]]], float | None, bool]], planning: Any
) -> None:
    rules = Rules(planning=planning)
    with folder() as name:
        session, state = Session(Path(name) / LOG_NAME, rules, box=Shelf({"write_file": 5.0})), State()
        for rounds, until, killed in run:
            cast = {agent: worker(f"{agent} says so.", *own) for agent, own in zip("abc", rounds, strict=False)}
            config: dict[str, Any] = {
                "coordination": {"enable_agent_task_planning": planning != "off", "plan_scope": planning}
            }
            begin = session.resume if state.unfinished else partial(session.ask, "Why?")
            state = begin(cast, until=until, **config)
            if killed and state.stopped == Stopped("interrupted"):
                session.kill()
        facts = session.facts
        recording = load(Path(name), {})
    assert held(facts, rules).difference is None
    view = View()
    for each in facts:
        view.fact(each)
    assert view.state.plans == fold(facts).plans
    assert all(rendered(facts, form) for form in ("json", "md", "html"))
    replies = [each.seq for each in facts if isinstance(each.fact, Said)]
    assert sorted(call.place for calls in recording.calls.values() for call in calls if call.outcome) == replies


def test_the_golden_log_holds_every_kind_of_fact_and_is_no_real_run(capsys: pytest.CaptureFixture[str]) -> None:
    made = create()
    (made / LOG_NAME).write_bytes(GOLDEN.read_bytes())
    assert run(["verify", str(made)]) == Exit.NO_ANSWER
    said = capsys.readouterr().out
    assert "fact 14 differs" in said, "alice is asked to vote while her answer is the only one"
    assert said.endswith("the rules: nothing is due before an agent at work has ended its turn\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ":1: not a session log"),
        (b"rubbish\n", ":1: not a session log"),
        (b'{"massgen": "session log", "format": 99}\n', "format 99 is not one this version reads"),
        (b'{"massgen": "session log", "format": 1}\n', "it holds no fact to verify"),
        (b'{"massgen": "session log", "format": 1}\n\0\0\n', ":2: this line is damaged"),
    ],
)
def test_a_bad_log_is_exit_code_2_and_left_as_it_is(
    content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = create() / LOG_NAME
    log.write_bytes(content)
    assert run(["verify"]) == Exit.USAGE
    assert said in capsys.readouterr().err
    assert log.read_bytes() == content


def test_a_session_that_there_is_not_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "2020"]) == Exit.USAGE
    assert "there is no session '2020'" in capsys.readouterr().err


def test_the_question_is_asked_of_a_team(facts: list[Recorded]) -> None:
    assert isinstance(facts[0].fact, Asked)
    assert told(changed(facts, facts[0], roster=facts[0].fact.roster[:2]))[0] == 4
