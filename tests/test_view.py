"""The fold behind the display: what a person is told after each kind of fact."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from massgen.display import detail, told
from massgen.display.frame import UNICODE, paint
from massgen.display.view import Use, View, duration, money, summary
from massgen.errors import LogError
from massgen.events import (
    Answered,
    Asked,
    Chosen,
    Evaluated,
    Fact,
    Informed,
    Member,
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
from massgen.messages import Chunk, Finish, Message, ReasoningDelta, Text, TextDelta, ToolCallDelta, Usage, Waiting
from massgen.plan_words import tree
from massgen.planning import STATUSES, PlannedTask
from massgen.rosters import Change
from massgen.streams import KEEP, line, safe
from tests.conversations import Process, performed, processes
from tests.facts import ANSWER, START, Run, answering, conversed, presenting, resumed, troubled, voting, whole
from tests.test_truths import folder


def viewed(run: Run) -> View:
    view = View()
    for recorded in run.facts:
        view.fact(recorded)
    return view


def statuses(run: Run, later: float = 0.0) -> list[str]:
    view = viewed(run)
    return [view.status(agent, run.at + later) for agent in view.lanes]


def test_agents_wait_until_their_turn_begins_and_then_think() -> None:
    assert statuses(Run().ask()) == ["waiting"] * 3
    assert statuses(answering(3), 2.9) == ["thinking 2 s"] * 3


def test_a_view_of_nothing_can_be_asked_everything() -> None:
    view = View()
    view.delta("alice", TextDelta("early"))
    assert (view.phase, view.tally, view.winner, view.answered) == ("answering", {}, "", 0)
    assert summary(view, START) == ("No answer was chosen: interrupted", "0 model calls, 0 tokens in, 0 out, 0.0 s")


def test_an_answer_settles_the_agents_text_and_time() -> None:
    view = viewed(answering(3).answer("alice"))
    lane = view.lanes["alice"]
    assert (view.status("alice", START + 9), view.answered, view.phase) == ("answered", 1, "answering")
    assert (lane.text, lane.took, lane.turn_tokens, lane.use.calls) == (ANSWER, 1.5, 120, 1)


def test_votes_are_shown_by_author_and_counted() -> None:
    run = voting(3)
    view = viewed(run)
    assert statuses(run) == ["voted for alice", "voted for alice", "thinking 0 s"]
    assert (view.phase, view.tally, view.lanes["bob"].text) == ("voting", {"alice": 2}, "it names the compromise")


def test_a_new_answer_voids_the_votes_that_did_not_see_it() -> None:
    run = voting(3).answer("carol", "Canberra!!")
    view = viewed(run)
    assert statuses(run) == ["answered", "answered", "answered anew"]
    assert view.tally == {}


def test_the_winner_presents_and_is_done() -> None:
    assert statuses(presenting(3))[0] == "presenting 0 s"
    view = viewed(presenting(3))
    assert (view.phase, view.winner, view.tally) == ("presenting", "alice", {"alice": 3})
    assert statuses(whole(3)) == ["won", "voted for alice", "voted for alice"]
    assert statuses(whole(1)) == ["done"]
    assert viewed(whole(3)).phase == "done"


def test_an_answer_taken_as_it_stands_costs_no_time() -> None:
    run = answering(1).answer("alice").choose("alice", {})
    run.add(Presented("alice", None, ANSWER), after=30)
    view = viewed(run)
    assert (view.status("alice", run.at), view.lanes["alice"].took) == ("done", 1.5)


def test_a_retry_counts_down_and_ends_with_the_next_word() -> None:
    run = answering(3).retry("bob", "HTTP 429: slow\ndown", 4)
    view = viewed(run)
    assert view.status("bob", run.at + 1) == "retrying in 3 s: HTTP 429: slow down"
    assert view.mood("bob", run.at + 4) == "thinking"
    view.delta("bob", TextDelta("now"))
    assert view.mood("bob", run.at + 1) == "thinking"


def test_a_failed_agent_names_its_cause_and_a_late_one_is_dropped() -> None:
    run = answering(3).fail("bob", "HTTP 401")
    run.add(TurnFailed("carol", run.turns["carol"], "timeout", ""))
    assert statuses(run) == ["thinking 0 s", "failed: HTTP 401", "dropped: timeout"]


def test_an_agent_that_uses_tools_says_which_how_long_and_what_failed() -> None:
    run = answering(2).use("alice", "read_file").use("alice", "search\x1b", call="c2")
    assert statuses(run, 3)[0] == "using read_file +1 3 s"
    run.result("alice", "There is none.", is_error=True, seconds=2.0)
    assert statuses(run, 1)[0] == "using search 3 s"
    run.result("alice", "Canberra.", call="c2")
    assert statuses(run)[0] == "thinking 2 s"
    run.use("alice", "read_file").result("alice", "There is none.", is_error=True)
    assert statuses(run)[0] == "thinking 3 s, read_file failed"
    run.call("alice", "So be it.")
    assert statuses(run)[0] == "thinking 4 s"


def test_tools_that_were_in_use_when_a_run_was_interrupted_are_so_when_it_goes_on() -> None:
    run = answering(1).use("alice", "write_file").interrupt("alice").resume()
    assert statuses(run, 2) == ["using write_file 2 s"]
    assert statuses(run.result("alice", "It may have been done.", is_error=True)) == ["thinking 0 s, write_file failed"]
    assert statuses(run.answer("alice")) == ["answered"]


def test_a_plan_that_is_over_is_not_followed_into_the_next_question() -> None:
    done = PlannedTask("t1", "Read", status="completed", assignee="alice")
    run = whole(1).ask().begin("solo").plan("alice", done)
    assert viewed(run).plans[""].over
    assert viewed(run.ask()).plans == {}
    run.begin("solo").plan("alice", PlannedTask("t2", "Check"))
    assert (viewed(run).plans[""].done, viewed(run.ask()).plans[""].count) == (1, 2)


def test_a_cancelled_turn_leaves_the_agent_as_it_was() -> None:
    run = answering(3).answer("alice").begin("decide", ["alice"])
    run.add(TurnFailed("alice", run.turns["alice"], "cancelled", "the vote was over"))
    assert statuses(run)[0] == "answered"


def test_a_check_of_the_final_answer_may_send_the_team_back() -> None:
    run = presenting(3).present("alice").begin("evaluate", ["alice"])
    assert statuses(run)[0] == "checking 0 s"
    run.add(Evaluated("alice", run.turns["alice"], "restart", "no source", "cite one"), after=1)
    view = viewed(run)
    assert statuses(run) == ["waiting"] * 3
    assert (view.phase, view.winner, view.answered, view.lanes["alice"].took) == ("answering", "", 0, 1.0)


def test_a_resumed_run_does_not_count_the_time_between() -> None:
    run = answering(3)
    run.add(Stopped("interrupted"), after=5)
    assert viewed(run).elapsed(run.at + 60) == 5
    view = viewed(run.resume())
    assert (view.phase, view.elapsed(run.at + 2)) == ("answering", 7)
    killed = answering(3).call("alice", "", seconds=5).resume()
    assert viewed(killed).elapsed(killed.at + 2) == 7


def test_a_turn_that_is_taken_up_goes_on_where_it_was() -> None:
    run = answering(3).call("bob", "Almost", seconds=5).interrupt("alice", "bob", "carol").resume("alice", "bob")
    view = viewed(run)
    view.delta("bob", TextDelta("Canb"))
    assert statuses(run, 2) == ["thinking 7 s", "thinking 7 s", "left the team"]
    assert (view.lanes["bob"].text, view.lanes["bob"].note, view.lanes["bob"].turn_tokens) == ("Canb", "", 120)
    assert viewed(run.answer("bob", "Canberra.")).lanes["bob"].took == 6.5


def test_a_turn_that_is_not_taken_up_is_settled() -> None:
    run = answering(2).answer("alice")
    view = viewed(run)
    view.delta("bob", TextDelta("Canb"))
    roster = (Member("alice", "openai", "model-a"), Member("bob", "openai", "other"))
    view.fact(Recorded(99, run.at + 60, Resumed(roster)))
    view.delta("bob", TextDelta("erra"))
    assert [view.mood(agent, run.at) for agent in view.lanes] == ["answered", "waiting"]
    assert (view.lanes["bob"].model, view.lanes["bob"].text, view.lanes["bob"].took) == ("other", "Canb", 1.5)
    assert view.change == Change(replaced=("bob",))


def test_who_joins_and_who_leaves_a_run_that_goes_on_is_told() -> None:
    view = viewed(resumed())
    assert [*view.lanes] == ["alice", "bob", "carol", "dave"]
    assert statuses(resumed()) == ["voted for bob", "won", "left the team", "voted for bob"]
    assert view.change == Change(joined=("dave",), left=("carol",))
    assert view.elapsed(0) == pytest.approx(resumed().at - START - 3600)


def test_who_had_left_for_a_failure_is_back() -> None:
    run = answering(2).fail("bob", "HTTP 401").interrupt("alice").resume()
    assert statuses(run) == ["thinking 0 s", "waiting"]
    assert str(viewed(run).change) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(), ""),
        (Change(("dave", "erin")), "dave, erin joined"),
        (Change((), ("bob",), ("carol",)), "bob left; carol has another model"),
        (Change(replaced=("bob", "carol")), "bob, carol have another model"),
    ],
)
def test_a_change_of_the_team_reads_naturally(change: Change, words: str) -> None:
    assert str(change) == words


def test_an_agent_that_summarises_the_conversation_is_seen_at_it() -> None:
    run = whole(1).ask("And New Zealand?", after=60.0).begin("summarise", ["alice"])
    assert (viewed(run).phase, statuses(run, 2)) == ("summarising", ["summarising 2 s"])
    run = conversed()
    facts = [each for each in run.facts if each.seq <= [type(each.fact) for each in run.facts].index(Summarised) + 1]
    run.facts[:] = facts
    lane = viewed(run).lanes["alice"]
    assert (viewed(run).phase, lane.text, lane.took) == ("answering", "Canberra is the capital of Australia.", 1.5)


def test_each_question_has_its_own_totals() -> None:
    run = whole(3).ask("And New Zealand?", after=60.0)
    assert summary(viewed(run), run.at + 3) == (
        "No answer was chosen: interrupted",
        "0 model calls, 0 tokens in, 0 out, 3.0 s",
    )


def test_a_wait_that_is_told_after_the_end_does_not_begin_the_run_again() -> None:
    run = whole(1)
    run.add(Waited("alice", run.turns["alice"], "rpm", 9, 9, 12.0), after=60.0)
    view = viewed(run)
    assert (view.phase, view.elapsed(run.at)) == ("done", pytest.approx(run.at - 60 - START))


def test_an_answer_without_a_turn_took_no_longer_than_since_the_question() -> None:
    run = Run().ask()
    run.add(Answered("alice", 0, ANSWER), after=5.0)
    assert viewed(run).lanes["alice"].took == 5.0


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(processes)
def test_of_a_session_the_last_question_is_all_that_a_view_needs_to_have_seen(run: list[Process]) -> None:
    with folder() as name:
        facts, _ = performed(Path(name) / "events.jsonl", run)
    last = max(place for place, each in enumerate(facts) if isinstance(each.fact, Asked))
    whole, part = View(), View()
    for each in facts:
        whole.fact(each)
    for each in facts[last:]:
        part.fact(each)
    assert (summary(whole, 0), whole.lanes, whole.phase, whole.change) == (
        summary(part, 0),
        part.lanes,
        part.phase,
        part.change,
    )


def test_a_reprompted_agent_and_one_shown_news_keep_thinking() -> None:
    run = answering(3).answer("alice")
    run.add(Reprompted("bob", run.turns["bob"], "call a tool"))
    run.add(Informed("bob", run.turns["bob"], run.ballot))
    assert (statuses(run)[1], viewed(run).lanes["bob"].note) == ("thinking 1 s", "call a tool")


def test_streamed_text_is_replaced_by_what_was_said() -> None:
    run = answering(1)
    view = viewed(run)
    for chunk in (ReasoningDelta("hm"), TextDelta("Can"), TextDelta("berra"), Usage(), Finish("stop")):
        view.delta("alice", chunk)
    assert view.lanes["alice"].text == "hm\nCanberra"
    view.fact(Recorded(3, run.at, Said("alice", 2, Message("assistant", (Text("Canberra."),)))))
    assert view.lanes["alice"].text == "Canberra."
    view.fact(Recorded(4, run.at, Said("alice", 2, Message("assistant", ()))))
    assert view.lanes["alice"].text == "Canberra."


def test_chunks_that_come_after_the_turn_change_nothing() -> None:
    view = viewed(answering(1).answer("alice"))
    view.delta("alice", TextDelta("late"))
    view.delta("nobody", TextDelta("lost"))
    assert view.lanes["alice"].text == ANSWER


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")), st.integers(1, 7), st.booleans())
def test_a_tool_call_is_read_as_text_however_its_pieces_are_cut(text: str, step: int, ascii_only: bool) -> None:
    view = viewed(answering(1))
    raw = json.dumps(text[: KEEP // 12], ensure_ascii=ascii_only)
    view.delta("alice", ToolCallDelta(0, "id", "new_answer"))
    for start in range(0, len(raw), step):
        view.delta("alice", ToolCallDelta(0, arguments=raw[start : start + step]))
    whole_call = viewed(answering(1))
    whole_call.delta("alice", ToolCallDelta(0, "id", "new_answer", raw))
    assert view.lanes["alice"].text == whole_call.lanes["alice"].text
    if text.isprintable() and text.isascii():
        assert view.lanes["alice"].text == f'new_answer "{text}"'


@given(st.text(st.sampled_from("a@[3m;\r\n\x1b\x9b\t"), max_size=40), st.integers(1, 7))
def test_controls_and_line_ends_are_taken_out_however_the_text_is_cut(text: str, step: int) -> None:
    view = viewed(answering(1))
    for start in range(0, len(text), step):
        view.delta("alice", TextDelta(text[start : start + step]))
    view.delta("alice", TextDelta("\nz"))
    assert view.lanes["alice"].text == safe(text + "\nz")


def test_a_wait_for_a_limit_is_told_while_it_lasts_and_summed_up() -> None:
    run = answering(1)
    view = viewed(run)
    view.delta("alice", Waiting("rpm", 12.2, 9, 9))
    assert view.status("alice", run.at) == "waiting 12 s for RPM 9/9"
    view.delta("alice", Waiting("GenerateRequestsPerDay", 0.0))
    assert view.status("alice", run.at) == "waiting for GenerateRequestsPerDay"
    view.delta("alice", Waiting("rpm", 12.2, 9, 9, over=True))
    assert view.status("alice", run.at).startswith("thinking")
    view.delta("alice", Waiting("pacing", 0.2, 1, 1))
    assert view.status("alice", run.at).startswith("thinking"), "less than a second is not worth a word"
    view.delta("nobody", Waiting("rpm", 12.2, 9, 9))
    run.add(Waited("alice", run.turns["alice"], "rpm", 9, 9, 12.2))
    assert "12.2 s waited for rate limits" in summary(viewed(run), run.at)[1]


def test_what_only_looks_like_an_escape_is_shown_as_it_is() -> None:
    view = viewed(answering(1))
    for piece in ("\\", "uXYZ and ", "more\\"):
        view.delta("alice", ToolCallDelta(0, arguments=piece))
    assert view.lanes["alice"].text == "\\uXYZ and more"


def test_a_split_unicode_escape_is_one_letter() -> None:
    view = viewed(answering(1))
    for piece in ('{"a": "caf\\', "u00", 'e9"}'):
        view.delta("alice", ToolCallDelta(0, arguments=piece))
    assert view.lanes["alice"].text == "café"


_words = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=6)
_values = st.recursive(
    _words | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=6,
)


def texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict() | list():
            return [
                text
                for each in (
                    cast(dict[str, Any], value).values() if isinstance(value, dict) else cast(list[Any], value)
                )
                for text in texts(each)
            ]
        case _:
            return []


@given(st.dictionaries(_words, _values, max_size=4), st.integers(1, 7))
def test_of_a_tool_call_its_texts_are_shown_without_their_names(arguments: dict[str, object], step: int) -> None:
    view, raw = viewed(answering(1)), json.dumps(arguments)
    view.delta("alice", ToolCallDelta(0, "id", "vote"))
    for start in range(0, len(raw), step):
        view.delta("alice", ToolCallDelta(0, arguments=raw[start : start + step]))
    assert view.lanes["alice"].text == "vote " + "\n".join(texts(arguments))


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07x", "]0;titlex"),
        ("a\x9b31mb \x1b[1;38;5;196mred\x1b[0m", "ab red"),
        ("\x1b[\x1b[31m31m", "[31m"),
        ("txt\u202egnp.exe", "txtgnp.exe"),
        ("\u2066iso\u2069late\u061c", "isolate"),
        ("in\u200bvi\ufeffsi\U000e0041ble", "invisible"),
        ("half \ud83d pair", "half  pair"),
        ("one\r\ntwo\rthree\tfour", "one\ntwo\nthree    four"),
        ("日本語 שלום n\u200cj \U0001f468\u200d\U0001f469", "日本語 שלום n\u200cj \U0001f468\u200d\U0001f469"),
    ],
)
def test_text_cannot_steer_the_terminal_or_deceive_the_eye(hostile: str, shown: str) -> None:
    assert safe(hostile) == shown


def test_a_line_is_one_line_and_bounded() -> None:
    assert line("a\n b\t\tc ") == "a b c"
    assert line("x" * 500, 10) == "xxxxxxx..."


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(2.14, "2.1 s"), (7, "7 s"), (59.96, "1 m 00 s"), (75, "1 m 15 s"), (3900, "1 h 05 m")],
)
def test_durations_read_naturally(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_money_says_what_it_does_not_know() -> None:
    assert money(Use(calls=2)) == ""
    assert money(Use(calls=2, cost=0.0123, priced=2)) == "$0.0123"
    assert money(Use(calls=2, cost=1.5, priced=1)) == "$1.50+"


def test_the_summary_tells_the_winner_and_the_cost_in_two_lines() -> None:
    view = viewed(whole(3))
    assert summary(view, 0, "20260101-demo") == (
        "Chosen: alice (votes: alice 3)",
        "7 model calls, 5,684 tokens in, 840 out, $0.0147, 7.2 s, session 20260101-demo",
    )
    assert summary(viewed(whole(1)), 0)[0] == "Chosen: alice (single agent)"


def test_the_summary_tells_why_a_run_ended_early() -> None:
    run = presenting(3)
    run.add(Stopped("timeout"))
    assert summary(viewed(run), 0)[0] == "Chosen: alice (votes: alice 3); stopped: timeout"
    run = answering(1).fail("alice", "HTTP 401")
    run.add(Stopped("all failed"))
    assert summary(viewed(run), 0)[0] == "No answer was chosen: all failed"


def test_a_troubled_run_ends_readable() -> None:
    assert statuses(troubled()) == ["voted for bob", "won", "failed: " + viewed(troubled()).lanes["carol"].note]


_names = st.sampled_from(["alice", "bob"])
_text = st.one_of(st.text(max_size=40), st.just("x\t" * 5_000), st.just("\\u12"))
_seq = st.integers(1, 30)
_seconds = st.floats(0, 1e6)
_ballot = st.dictionaries(st.sampled_from(["agent1", "agent2"]), st.tuples(_seq), min_size=1)
_rosters = st.lists(st.sampled_from(["alice", "bob", "carol"]), unique=True).map(
    lambda names: tuple(Member(name, "openai", "m") for name in ("alice", "bob", *names))
)
_fact = st.one_of(
    st.builds(Asked, _text, _rosters),
    st.builds(Resumed, _rosters),
    st.builds(Summarised, _names, _seq, _seq, _text),
    st.builds(
        TurnBegan, _names, st.sampled_from(["solo", "answer", "decide", "present", "evaluate", "summarise"]), _ballot
    ),
    st.builds(Informed, _names, _seq, _ballot),
    st.builds(Said, _names, _seq, st.builds(Message, st.just("assistant"), st.tuples(st.builds(Text, _text)))),
    st.builds(Spent, _names, _seq, _text, _seq, _seq, st.none() | _seconds, _seconds),
    st.builds(Retried, _names, _seq, _text, _seconds),
    st.builds(Waited, _names, _seq, _text, _seconds, _seconds, _seconds),
    st.builds(Reprompted, _names, _seq, _text),
    st.builds(Answered, _names, _seq, _text),
    st.builds(Voted, _names, _seq, _seq, _text),
    st.builds(TurnFailed, _names, _seq, st.sampled_from(["error", "timeout", "cancelled", "interrupted"]), _text),
    st.builds(VotingOpened, st.just("all answered")),
    st.builds(Chosen, _seq, st.dictionaries(_seq, _seq), st.just("consensus")),
    st.builds(Presented, _names, st.none() | _seq, _text),
    st.builds(Evaluated, _names, st.none() | _seq, st.sampled_from(["submit", "restart"]), _text),
    st.builds(Stopped, st.sampled_from(["answered", "timeout"])),
)
_task_names = st.sampled_from(["t1", "t2", "t3", ""])
_task = st.builds(
    PlannedTask,
    _task_names,
    _text,
    st.lists(_task_names, max_size=2).map(tuple),
    st.sampled_from(STATUSES),
    parent=_task_names,
    assignee=_names | st.just("zoe"),
    reason=_text,
)
_work = st.one_of(
    st.builds(ToolCalled, _names | st.just("zoe"), _seq, st.sampled_from(["c1", "c2"]), _text, _text),
    st.builds(
        ToolReturned, _names | st.just("zoe"), _seq, st.sampled_from(["c1", "c2"]), _text, st.booleans(), _seconds
    ),
    st.builds(
        PlanChanged,
        _names | st.just("zoe"),
        st.none() | _seq,
        st.sampled_from(["", "alice"]),
        st.lists(_task, max_size=3).map(tuple),
        st.lists(_task_names, max_size=2).map(tuple),
        st.lists(_task_names, max_size=2).map(tuple),
    ),
)
_chunk = st.one_of(
    st.builds(TextDelta, _text), st.builds(ReasoningDelta, _text), st.builds(ToolCallDelta, _seq, arguments=_text)
)


def fitting(fact: Fact, answers: list[int]) -> Fact:
    """`fact` of one of the current `answers`, as logs hold it."""
    match fact:
        case TurnBegan() | Informed():
            return replace(fact, ballot={"agent1": tuple(answers)} if answers else {})
        case Voted(choice=choice) if answers:
            return replace(fact, choice=answers[choice % len(answers)])
        case Chosen(answer=answer) if answers:
            return replace(fact, answer=answers[answer % len(answers)])
        case _:
            return fact


@settings(max_examples=60, deadline=None)
@given(st.lists(_work, max_size=30))
def test_tools_and_plans_can_be_followed_in_any_order_and_of_anybody(facts: list[Fact]) -> None:
    view = View()
    for seq, fact in enumerate(facts, 1):
        view.fact(Recorded(seq, START, fact))
        assert paint(view, START, 80, 24, UNICODE).lines
        assert line(shown := told(fact, view) or detail(fact, view)) == shown
    for plan in view.state.plans.values():
        assert sorted(each.task.id for each in tree(plan)) == sorted(plan.tasks)
        assert all(each.state for each in tree(plan))


@settings(max_examples=60, deadline=None)
@given(st.lists(_fact | _work | st.tuples(_names, _chunk), max_size=40), st.floats(0, 100))
def test_whatever_happens_the_view_can_be_read_and_stays_small(
    items: list[Fact | tuple[str, Chunk]], later: float
) -> None:
    view = View()
    roster = (Member("alice", "openai", "m"), Member("bob", "openai", "m"))
    view.fact(Recorded(1, START, Asked("why?", roster)))
    for seq, item in enumerate(items, 2):
        match item:
            case (agent, chunk):
                view.delta(agent, chunk)
            case Informed() | Voted() if not view.state.answers:
                pass  # there is nothing to show, nor to vote for
            case fact:
                with suppress(LogError):  # it speaks of an answer that is not there
                    view.fact(Recorded(seq, START + seq, fitting(fact, [*view.state.answers])))
        now = START + seq + later
        assert paint(view, now, 80, 24, UNICODE).lines
        assert paint(view, now, 80, 24, UNICODE, closing=True).lines
        assert all(safe(view.status(agent, now)) == view.status(agent, now) for agent in view.lanes)
        assert all("\n" not in text for text in summary(view, now))
        assert all(max(len(lane.text), len(lane.note)) <= KEEP for lane in view.lanes.values())
