"""Sessions as documents: what they tell, and that no model's text becomes anything but text."""

import base64
import hashlib
import json
import os
import random
import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from massgen import sessions
from massgen.commands.sessions_export import export
from massgen.errors import LogError, UsageError
from massgen.events import (
    Asked,
    Evaluated,
    Informed,
    Member,
    Presented,
    Recorded,
    Reprompted,
    Resumed,
    Spent,
    Stopped,
    Summarised,
    TurnFailed,
    VotingOpened,
    Waited,
)
from massgen.exports import MAX_RESULT, Form, rendered
from massgen.exports.transcript import MAX_EVENTS, turns
from massgen.log import Log, read
from massgen.messages import Media
from massgen.planning import PlannedTask
from massgen.streams import safe
from tests.conversations import Process, performed, processes
from tests.facts import ANSWER, QUESTION, START, Run, answering, conversed, presenting, resumed, troubled, whole
from tests.test_truths import folder

FORMS: tuple[Form, ...] = ("json", "md", "html")
GOLDEN = sorted(Path(__file__).with_name("golden").glob("format-1*.jsonl"))
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=https://evil.example/x onerror=alert(1)>',
    "' onmouseover='alert(1)' style='background:url(https://evil.example)",
    "</style></title></main><svg onload=alert(1)><!-- <![CDATA[",
    "javascript:alert(1) [click](javascript:alert(1)) ![x](https://evil.example/x)",
    "$body ${title} $$ &lt;b&gt; &amp;",
    "\x1b[2J\x1b]0;owned\x07 \x9b31m \0 \u202egnp.exe\u2066 \u2028<b>\ud800 \ufeff",
)


def data(run: Run) -> dict[str, Any]:
    return json.loads(rendered(run.facts, "json"))


def told(facts: Sequence[Recorded], form: Form) -> str:
    """What is wrong with the facts, if they cannot be rendered."""
    try:
        return "rendered" if rendered(facts, form) else ""
    except LogError as error:
        return error.what


class Page(HTMLParser):
    """`skeleton`: tags and attributes in order, without their texts; `tags`: with the attributes' values."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.skeleton: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skeleton.append(f"{tag} {' '.join(name for name, _ in attrs)}")
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.skeleton.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.skeleton.append("comment")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(facts: Sequence[Recorded]) -> Page:
    return Page(rendered(facts, "html"))


def saying(text: str) -> Run:
    """A run in which whoever can say something says `text`; its names and models have it in them, too."""
    run = Run((f"one{text}", f"two{text}", f"three{text}"))
    one, two, three = run.names
    roster = tuple(Member(name, text or "b", text or "m") for name in run.names)
    media = (Media("image", text, name=text or "n"),)
    run.add(Asked(f"why{text}?\n{text}", roster, media))
    run.begin("answer").retry(one, f"c{text}", 2).answer(one, f"a{text}").answer(two, f"b{text}").answer(
        two, f"d{text}"
    )
    run.add(Waited(one, run.turns[one], f"rpm{text}", 1, 1, 3))
    run.add(Reprompted(one, run.turns[one], f"w{text}"))
    run.use(three, f"u{text}", f"v{text}").result(three, f"x{text}").use(three, f"u{text}")
    tasks = (PlannedTask(f"j{text}", f"k{text}", status="in_progress", assignee=three), PlannedTask("l", f"m{text}"))
    run.plan(three, *tasks, replace(tasks[1], id="n", depends_on=(tasks[0].id,), parent="l", reason=f"o{text}"))
    run.plan(three, *tasks, plan=three)
    run.fail(three, f"f{text}").begin("decide", [one, two])
    run.vote(one, two, f"r{text}").vote(two, two, f"s{text}").choose(two, {two: 2})
    run.begin("present", [two]).present(two, f"p{text}").begin("evaluate", [two])
    run.add(Evaluated(two, run.turns[two], "restart", "", f"i{text}"))
    run.begin("answer", [one]).answer(one, f"e{text}")
    run.choose(one, {}).begin("present", [one]).present(one, f"q{text}").stop()
    run.ask(f"and{text}", after=60).summarise(one, f"t{text}", 1).interrupt().resume(one, f"four{text}")
    run.begin("answer", [one]).answer(one, f"g{text}").choose(one, {})
    run.begin("present", [one]).present(one, f"q{text}").stop()
    return run


def restarted() -> Run:
    """A run whose first final answer was sent back."""
    run = presenting(2).present("alice", "Sydney.").begin("evaluate", ["alice"])
    run.add(Evaluated("alice", run.turns["alice"], "restart", "no capital", "name the capital"))
    run.begin("answer").answer("alice", "Canberra.").answer("bob", "Canberra!")
    run.begin("decide").vote("alice", "bob").choose("bob", {"bob": 1}).begin("present", ["bob"]).present("bob")
    run.begin("evaluate", ["bob"])
    run.add(Evaluated("bob", run.turns["bob"], "submit", "it does"))
    return run.stop()


def test_the_data_tell_every_answer_every_vote_and_which_of_them_counted() -> None:
    turn = data(troubled())["turns"][0]
    assert [(each["author"], each["revision"], each["text"]) for each in turn["answers"]] == [
        ("alice", 1, ANSWER),
        ("bob", 1, "Canberra."),
        ("bob", 2, "Canberra, chosen in 1908 and founded in 1913."),
    ]
    given_by = {each["id"]: (each["author"], each["revision"]) for each in turn["answers"]}
    assert [(each["voter"], given_by[each["answer"]], each["reason"], each["counted"]) for each in turn["votes"]] == [
        ("alice", ("alice", 1), "it names the compromise", False),
        ("alice", ("bob", 2), "dates both steps", True),
        ("bob", ("bob", 2), "", True),
    ]
    assert (turn["winner"], turn["tally"], turn["why"], turn["stopped"]) == ("bob", {"bob": 2}, "consensus", "answered")
    assert turn["team"][2]["left"] == "HTTP 401 from api.example.org: the key in CAROL_KEY was refused"
    assert turn["team"][1]["use"]["calls"] == 4


def test_the_data_begin_with_the_end_of_the_conversation_and_what_all_of_it_took() -> None:
    first = whole(3)
    second = Run(first.names, first.at + 3600, [*first.facts]).ask("And of New Zealand?").begin("answer")
    second.answer("alice", "Wellington.").choose("alice", {}).begin("present", ["alice"])
    found = data(second.present("alice", "Wellington.").stop())
    assert (found["facts_version"], found["question"]) == (1, "And of New Zealand?")
    assert (found["answer"], found["winner"]) == ("Wellington.", "alice")
    assert [(turn["question"], turn["answer"], turn["use"]["calls"]) for turn in found["turns"]] == [
        (QUESTION, ANSWER, 7),
        ("And of New Zealand?", "Wellington.", 2),
    ]
    assert found["use"] == {
        "calls": 9,
        "input_tokens": 9 * 812,
        "output_tokens": 9 * 120,
        "cost": 0.0189,
        "calls_with_known_cost": 9,
        "waited_seconds": 0,
    }


def test_a_cost_that_nobody_knows_is_null() -> None:
    run = answering(1)
    run.add(Spent("alice", run.turns["alice"], "model-a", 1, 1, None, 0.1))
    assert data(run)["use"]["cost"] is None
    assert "unknown" in page(run.facts).texts


def test_a_final_answer_that_was_sent_back_is_told_and_its_attempts_votes_keep_counting() -> None:
    turn = data(restarted())["turns"][0]
    assert [(each["text"], each["sent_back"]) for each in turn["finals"]] == [
        ("Sydney.", "name the capital"),
        (ANSWER, None),
    ]
    assert turn["answer"] == ANSWER
    assert [(each["author"], each["attempt"], each["revision"]) for each in turn["answers"]] == [
        ("alice", 1, 1),
        ("bob", 1, 1),
        ("alice", 2, 1),
        ("bob", 2, 1),
    ]
    assert [each["counted"] for each in turn["votes"]] == [True, True, True]
    text = rendered(restarted().facts, "md")
    assert "## A final answer that was sent back\n\nBy alice, after 5.3 s, then sent back: name the capital" in text
    assert "alice sent the final answer back: name the capital" in text
    assert "bob approved the final answer: it does" in text
    assert "Answer 1, attempt 2, after" in text


def test_a_sent_back_answer_with_none_after_it_is_no_answer() -> None:
    run = presenting(2).present("alice", "Sydney.")
    run.add(Evaluated("alice", None, "restart", "no capital"))
    found = data(run)
    assert (found["answer"], found["turns"][0]["finals"][0]["sent_back"]) == ("", "no capital")


def test_the_markdown_tells_all_of_a_run_in_order() -> None:
    text = rendered(troubled().facts, "md")
    told = [
        f"# {QUESTION}",
        "- 2026-09-21 14:13 UTC, 3 agents\n- Chosen: bob (votes: bob 2)\n- 7 model calls, 5,684 tokens in",
        f"## The final answer\n\nBy bob, after 7.5 s\n\n> {ANSWER}",
        "### alice (openai model-a)\n\nAnswer 1, after 1.6 s:",
        "Answer 2, after 5.2 s; votes: alice, bob:\n\n> Canberra, chosen in 1908 and founded in 1913.",
        "It left the team: HTTP 401 from api.example.org: the key in CAROL\\_KEY was refused",
        "- alice for alice, answer 1 (not counted: another answer came): it names the compromise\n- alice for bob, answer 2",
        "- 0.1 s: bob had a call fail, sent again after 4 s: HTTP 429 from api.example.org: slow down",
        "- 6.0 s: answer 2 of bob was chosen: consensus",
    ]
    places = [text.find(each) for each in told]
    assert -1 not in places
    assert places == sorted(places)


def test_what_a_run_met_is_told() -> None:
    run = Run(("alice", "bob"))
    roster = (Member("alice", "openai", "m"), Member("bob", "openai", "m"))
    run.add(Asked("Who?", roster, (Media("image", "image/png", name="chart.png"),)))
    run.begin("answer").answer("alice")
    run.add(VotingOpened("patience ran out"))
    run.add(Informed("bob", run.turns["bob"], {"agent1": (run.answers["alice"],)}))
    run.add(Waited("bob", run.turns["bob"], "rpm", 5, 5, 0.5))
    run.add(Waited("bob", run.turns["bob"], "rpm", 5, 5, 12))
    run.add(Reprompted("bob", run.turns["bob"], "no act"))
    run.add(TurnFailed("bob", run.turns["bob"], "cancelled", ""))
    run.choose("alice", {})
    run.add(Presented("alice", None, ANSWER))
    run.add(Stopped("timeout"))
    text = rendered(run.facts, "md")
    for each in (
        "- With chart.png",
        "bob was shown new answers",
        "bob had waited 12 s for the limit rpm",
        "bob was asked again: no act",
        "bob was no longer needed\n",
        "voting opened: patience ran out",
        "the run ended: timeout",
    ):
        assert each in text
    assert text.count("waited 12 s for the limit") == 1
    assert "It left the team" not in text


def test_a_long_question_stands_whole_below_its_beginning() -> None:
    question = "Why " + "very " * 80 + "long?"
    facts = answering(1).facts
    facts[0] = replace(facts[0], fact=Asked(question, (Member("alice", "openai", "m"),)))
    assert f"> {question}" in rendered(facts, "md")
    assert question in page(facts).texts
    assert rendered(troubled().facts, "md").count(QUESTION) == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_run_that_never_came_to_an_answer_is_told_too(form: Form) -> None:
    run = answering(2).answer("alice")
    text = rendered(run.facts, form)
    assert "alice" in text
    assert [(span.agent, span.act) for span in turns(run.facts)[0].spans] == [
        ("alice", "answer"),
        ("bob", "unfinished"),
    ]


def test_the_page_shows_the_answers_the_votes_and_the_times() -> None:
    found = page(troubled().facts)
    ids = [f"{values['id']}" for tag, values in found.tags if "id" in values and tag != "section"]
    links = [values["href"] for tag, values in found.tags if tag == "a"]
    assert len(ids) == 3
    assert {f"#{each}" for each in ids} >= {*links}
    assert len(links) == 3
    assert found.texts.count("Chosen") == 1
    assert sum(tag == "rect" for tag, _ in found.tags) == len(turns(troubled().facts)[0].spans) == 8
    assert {"1 earlier answer", "20 events", "dates both steps", "It gave no answer."} <= {*found.texts}


def test_the_page_loads_nothing_runs_nothing_and_allows_its_own_style_alone() -> None:
    html = rendered(troubled().facts, "html")
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert f'content="{policy}"' in html
    assert len(style) == 1
    assert "url(" not in style[0]
    assert "@import" not in style[0]
    for tag, values in Page(html).tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "form", "base")
        assert not {"src", "style", "action", "srcset"} & values.keys()
        assert not [name for name in values if name.startswith("on")]
        assert (values.get("href") or "#").startswith("#")


@pytest.mark.parametrize("payload", HOSTILE)
def test_no_text_of_a_model_becomes_markup(payload: str) -> None:
    hostile = page(saying(payload).facts)
    assert hostile.skeleton == page(saying("x").facts).skeleton
    for each in ("a", "b", "d", "e", "p", "q", "r", "s"):
        assert each + safe(payload) in hostile.texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("So:\n```py\nif a < b:\n    <b>\n```\nDone.", ["So:", "```py\nif a < b:\n    <b>\n```", "Done."]),
        ("```<b>\n</code></div><script>\n```", ["```<b>\n</code></div><script>\n```"]),
        ("~~~\nnever closed", ["~~~\nnever closed"]),
    ],
)
def test_code_of_a_model_is_shown_as_code_with_nothing_left_out(text: str, shown: list[str]) -> None:
    found = page(answering(1).answer("alice", text).facts)
    assert [each for each in found.texts if each in text and each.strip() and len(each) > 2] == shown
    assert sum(tag == "code" for tag, _ in found.tags) == 1


@pytest.mark.parametrize("payload", HOSTILE)
def test_the_models_markdown_stays_in_its_quote_and_their_notes_are_plain(payload: str) -> None:
    def skeleton(text: str) -> list[str]:
        return [re.split(r"[^#>\s-]", each)[0] for each in rendered(saying(text).facts, "md").split("\n")]

    breaking = f"{payload}\n# Mine\n```\n- x"
    lines = rendered(saying(breaking).facts, "md").split("\n")
    assert skeleton(payload) == skeleton("x")
    assert [each for each in lines if each.startswith("#") and "Mine" in each and "\\# Mine" not in each] == []
    plain = [re.sub(r"^\s*- \[[ x]\] ", "- ", each) for each in lines if not each.startswith(">")]
    assert not [each for each in plain if re.search(r"(?<!\\)[<`\[]", each)]


@pytest.mark.parametrize("payload", HOSTILE)
def test_the_data_keep_every_text_and_steer_no_terminal(payload: str) -> None:
    text = rendered(saying(payload).facts, "json")
    assert safe(text) == text
    assert json.loads(text)["answer"] == f"q{payload}"


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 12))
def test_facts_that_contradict_each_other_are_told_as_such_and_never_a_crash(dice: random.Random, cuts: int) -> None:
    facts = [*restarted().facts, *troubled().facts]
    for _ in range(cuts):
        place = dice.randrange(len(facts))
        facts[place : place + dice.randint(0, 3)] = [facts[dice.randrange(len(facts))]] * dice.randint(0, 1)
    facts = [replace(each, seq=seq) for seq, each in enumerate(facts, 1)]
    for form in FORMS:
        assert re.match(r"rendered|fact \d+ \(\w+\) contradicts those before it", told(facts, form))


@pytest.mark.parametrize(
    "fact", [Informed("alice", 2, {}), Spent("alice", 2, "m", 1, 1, float("nan"), 1), Spent("zoe", 2, "m", 1, 1, 0, 1)]
)
def test_a_fact_that_cannot_be_is_named(fact: Informed | Spent) -> None:
    run = answering(1)
    run.add(fact)
    with pytest.raises(LogError, match=rf"fact 3 \({type(fact).__name__}\) contradicts those before it"):
        rendered(run.facts, "json")


def test_a_time_beyond_all_is_told() -> None:
    with pytest.raises(LogError, match="fact 1"):
        rendered([replace(answering(1).facts[0], at=1e300)], "md")


def test_a_session_without_a_question_is_told() -> None:
    with pytest.raises(LogError, match="no question was asked in this session"):
        rendered([], "html")


def test_a_document_tells_a_bounded_number_of_events() -> None:
    run = answering(1)
    for _ in range(MAX_EVENTS + 1):
        run.add(Reprompted("alice", run.turns["alice"], "no act"))
    text = rendered(run.facts, "md")
    assert text.count("was asked again: no act") == MAX_EVENTS - 1
    assert text.endswith("2 more events are in the session's log.")
    assert "2 more events are in the session's log." in page(run.facts).texts


def test_uses_of_tools_are_told_with_their_results_and_never_more_than_a_part_of_them() -> None:
    run = answering(1).use("alice", "read_file", '{"path": "a.md"}').use("alice", "search", call="c2")
    run.result("alice", "Canberra " * 9_999, call="c2").result("alice", "No file.", is_error=True)
    run.use("alice", "write_file").use("alice", "write_file").result("alice", "done", seconds=2.0)
    made = data(run)["turns"][0]["tool_calls"]
    told = [(each["name"], each["is_error"], each["result_characters"], each["seconds"]) for each in made]
    assert told == [
        ("read_file", True, 8, 0.5),
        ("search", False, 89_991, 0.5),
        ("write_file", False, 4, 2.0),
        ("write_file", False, 0, 0.0),
    ]
    assert (made[0]["arguments"], made[0]["at"], len(made[1]["result"]), made[3]["result"]) == (
        '{"path": "a.md"}', 0.0, MAX_RESULT, None
    )  # fmt: skip
    text = rendered(run.facts, "md")
    assert '- 0.0 s: alice used read\\_file: \\{"path": "a.md"\\}\n' in text
    assert "- 0.5 s: alice was given the result of search, after 0.5 s: Canberra Canberra" in text
    assert "- 1.0 s: alice was told that read\\_file failed, after 0.5 s: No file.\n" in text
    assert len(text) < 3_000
    assert any("used read_file" in each for each in page(run.facts).texts)


def test_the_result_of_a_tool_that_was_not_used_is_told_as_damage() -> None:
    for run in (answering(1), answering(1).use("alice", "search").result("alice", "Canberra.")):
        with pytest.raises(LogError, match=r"fact \d \(ToolReturned\) contradicts those before it"):
            rendered(run.result("alice", "Canberra.").facts, "json")


def planned() -> Run:
    tasks = [
        PlannedTask("read", "Read what there is", created=START),
        PlannedTask("check", "Check the dates", depends_on=("read",)),
        PlannedTask("write", "Write", depends_on=("check",), assignee="bob"),
        PlannedTask("cite", "Cite", parent="write"),
    ]
    run = answering(2).plan("alice", *tasks)
    done = replace(
        tasks[0], status="completed", assignee="alice", started=START, ended=START + 2, metadata={"pages": 7}
    )
    run.plan("alice", done).plan("bob", replace(tasks[1], status="in_progress", assignee="bob"))
    return run


def test_a_plan_is_told_as_it_stood_at_last_with_who_did_what() -> None:
    run = planned()
    (plan,) = data(run)["turns"][0]["plans"]
    assert (plan["of"], plan["completed"], plan["count"]) == (None, 1, 4)
    told = [(each["id"], each["status"], each["assignee"], each["waits_for"]) for each in plan["tasks"]]
    assert told == [
        ("read", "completed", "alice", []),
        ("check", "in_progress", "bob", []),
        ("write", "pending", "bob", ["check", "cite"]),
        ("cite", "pending", "", ["check"]),
    ]
    text = rendered(run.facts, "md")
    assert text[text.index("## The plan") : text.index("## What")].rstrip().split("\n")[2:] == [
        "- [x] read: Read what there is (completed by alice in 2.0 s): pages: 7",
        "- [ ] check: Check the dates (in progress: bob)",
        "- [ ] write: Write (waits for check, cite, meant for bob)",
        "  - [ ] cite: Cite (waits for check)",
    ]
    found = page(run.facts)
    levels = [values["class"] for tag, values in found.tags if tag == "li" and "level" in (values.get("class") or "")]
    assert levels == ["level0 completed", "level0 in_progress", "level0 pending", "level1 pending"]
    assert "pages: 7" in rendered(run.facts, "html")


def test_a_plan_that_outlasts_its_question_is_whole_in_the_next_and_left_out_where_nothing_changed() -> None:
    run = planned().stop().ask("And?", after=60).begin("answer").stop().ask("And now?", after=60).begin("answer")
    run.plan("bob", PlannedTask("cite", "Cite", parent="write"), plan="bob")
    run.plan("bob", PlannedTask("check", "Check", status="completed", assignee="bob"))
    run.plan("bob", plan="bob", deleted=("cite",))
    plans = [each["plans"] for each in data(run)["turns"]]
    assert [[each["count"] for each in plan] for plan in plans] == [[4], [], [0, 4]]
    assert "## The plan of bob\n\nIt has no tasks." in rendered(run.facts, "md")
    assert "It has no tasks." in page(run.facts).texts


def test_no_setting_of_the_run_is_in_a_document() -> None:
    facts = whole(2).facts
    asked = facts[0].fact
    assert isinstance(asked, Asked)
    facts[0] = replace(facts[0], fact=replace(asked, config={"cwd": "/home/jane/private"}))
    for form in FORMS:
        assert "jane" not in rendered(facts, form)


@pytest.mark.parametrize("log", GOLDEN, ids=lambda log: log.stem)
def test_the_golden_logs_can_be_exported(log: Path) -> None:
    facts = [*read(log)]
    for form in FORMS:
        assert rendered(facts, form)


# Conversations, and runs that went on


def test_each_question_of_a_conversation_is_told_with_what_came_of_it() -> None:
    questions = ["What is the capital of Australia?", "And of New Zealand?", "How far apart are they?"]
    turns = data(conversed())["turns"]
    assert [turn["question"] for turn in turns] == questions
    assert [turn["answer"] for turn in turns] == [f"The answer to question {n}." for n in (1, 2, 3)]
    assert [len(turn["answers"]) for turn in turns] == [1, 1, 1]
    text = rendered(conversed().facts, "md")
    assert [each for each in text.split("\n") if each.startswith("# ")] == [f"# {question}" for question in questions]
    assert "- Question 3, 2026-09-21 14:16 UTC, 1 agent\n" in text
    found = page(conversed().facts)
    sections = [values["id"] for tag, values in found.tags if tag == "section"]
    assert sections == ["q1", "q2", "q3"]
    assert [values["href"] for tag, values in found.tags if tag == "a"] == [f"#{each}" for each in sections]
    assert "nav" not in [tag for tag, _ in page(whole(1).facts).tags]


def test_a_summary_is_told_with_the_question_it_goes_up_to() -> None:
    summary = "Canberra is the capital of Australia."
    turn = data(conversed())["turns"][2]
    assert turn["summaries"] == [{"author": "alice", "at": 1.5, "until": 1, "text": summary}]
    text = rendered(conversed().facts, "md")
    assert f"## The conversation before, in short\n\nBy alice, after 1.5 s, up to question 1\n\n> {summary}" in text
    assert "- 0.0 s: alice was asked to summarise the conversation before" in text
    assert "- 1.5 s: alice summarised the conversation up to question 1" in text
    found = page(conversed().facts)
    assert {summary, "By alice, after 1.5 s, up to question 1"} <= {*found.texts}
    assert "act-summary" in [values.get("class") for tag, values in found.tags if tag == "rect"]


def test_a_run_that_went_on_tells_who_joined_and_who_left_and_counts_no_time_between() -> None:
    turn = data(resumed())["turns"][0]
    assert turn["resumed"] == [{"at": 1.5, "joined": ["dave"], "left": ["carol"], "replaced": []}]
    assert turn["seconds"] == 7.2
    assert [each["id"] for each in turn["team"]] == ["alice", "bob", "carol", "dave"]
    assert [bool(each["left"]) for each in turn["team"]] == [False, False, True, False]
    text = rendered(resumed().facts, "md")
    assert "- 1.5 s: the run ended: interrupted\n- 1.5 s: the run went on: dave joined; carol left" in text
    assert "### dave (openai model-d)\n\nAnswer 1, after 4.5 s:\n\n> It is Canberra." in text
    assert "Canberra." in page(resumed().facts).texts


def test_a_turn_that_was_taken_up_has_a_bar_for_each_of_its_parts() -> None:
    spans = [(each.began, each.ended, each.act) for each in turns(resumed().facts)[0].spans if each.agent == "bob"]
    assert spans[:2] == [(0.0, 1.5, "unfinished"), (1.5, 3.0, "answer")]
    killed = answering(2).call("bob", "", seconds=5).resume("alice").call("alice", "", seconds=2)
    spans = [(each.agent, each.began, each.ended, each.act) for each in turns(killed.facts)[0].spans]
    assert spans == [("bob", 0.0, 5.0, "unfinished"), ("alice", 0.0, 7.0, "unfinished")]


def test_a_model_that_was_replaced_is_told_with_the_last_one() -> None:
    run = answering(2)
    run.add(Resumed((Member("alice", "openai", "model-a"), Member("bob", "google", "better"))), after=60)
    assert data(run)["turns"][0]["resumed"] == [{"at": 0.0, "joined": [], "left": [], "replaced": ["bob"]}]
    assert "### bob (google better)" in rendered(run.facts, "md")


def test_a_summary_up_to_no_question_is_told_as_damage() -> None:
    run = whole(1).ask("And New Zealand?").begin("summarise", ["alice"])
    run.add(Summarised("alice", run.turns["alice"], 99, "All of it."))
    assert told(run.facts, "json").endswith("(Summarised) contradicts those before it: 99")


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(processes)
def test_every_session_can_be_exported_and_every_turn_has_its_bars(run: list[Process]) -> None:
    with folder() as name:
        facts, _ = performed(Path(name) / "events.jsonl", run)
    for form in FORMS:
        assert rendered(facts, form)
    for turn in turns(facts):
        assert all(0 <= span.began <= span.ended <= turn.seconds for span in turn.spans)
        for agent in turn.members:
            bars = [(span.began, span.ended) for span in turn.spans if span.agent == agent]
            assert all(one[1] <= other[0] for one, other in pairwise(bars))


# The command


def kept(run: Run, root: Path | None = None) -> Path:
    folder = sessions.create(root)
    with Log(folder / sessions.LOG_NAME, clock=lambda: run.at) as log:
        for each in run.facts:
            log.append(each.fact)
    return folder


def ran(*arguments: str) -> None:
    export.main([*arguments], "massgen sessions export", standalone_mode=False, help_option_names=["-h", "--help"])


def test_the_command_prints_markdown_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    folder = kept(troubled())
    ran(folder.name)
    out, err = capsys.readouterr()
    assert out.startswith(f"# {QUESTION}\n\n- ")
    assert err == ""
    ran(folder.name[:10], "--format", "json")
    assert json.loads(capsys.readouterr().out)["winner"] == "bob"


def test_without_a_session_it_is_the_latest_and_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    folder = kept(troubled())
    ran()
    assert capsys.readouterr().err == f"massgen: session {folder.name}\n"


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.json", "{"), ("a.md", "# "), ("a.markdown", "# "), ("a.HTML", "<!doctype html>"), ("a.htm", "<")],
)
def test_the_files_suffix_chooses_the_format(name: str, begins: str) -> None:
    ran(str(kept(saying("\ud800"))), "--output", name)
    text = Path(name).read_text("utf-8")
    assert text.startswith(begins)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_a_file_is_replaced_only_when_asked_to() -> None:
    folder = str(kept(troubled()))
    Path("mine.md").write_text("mine")
    Path("link.md").symlink_to("nowhere.md")
    for name in ("mine.md", "link.md"):
        with pytest.raises(UsageError, match=rf"{name}: there is a file already\n  Name another, or give --force"):
            ran(folder, "-o", name)
    assert Path("mine.md").read_text() == "mine"
    assert not Path("nowhere.md").exists()
    Path("mine.md").chmod(0o600)
    ran(folder, "-o", "mine.md", "--force")
    assert Path("mine.md").read_text().startswith(f"# {QUESTION}")
    assert stat.S_IMODE(Path("mine.md").stat().st_mode) == 0o600


def test_a_link_a_device_and_a_pipe_are_written_to_and_never_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(kept(troubled()))
    Path("theirs.md").write_text("theirs")
    Path("link.md").symlink_to("theirs.md")
    ran(folder, "-o", "link.md", "--force")
    assert Path("link.md").is_symlink()
    assert Path("theirs.md").read_text().startswith(f"# {QUESTION}")
    os.mkfifo("pipe.md")
    reader = os.open("pipe.md", os.O_RDONLY | os.O_NONBLOCK)
    ran(folder, "-o", "pipe.md")
    assert os.read(reader, 100).startswith(b"# ")
    os.close(reader)
    assert stat.S_ISFIFO(Path("pipe.md").stat().st_mode)
    ran(folder, "-o", os.devnull, "--format", "md")
    assert not Path(os.devnull).is_file()
    ran(folder, "-o", "-")
    assert capsys.readouterr().out.startswith("# ")


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = str(kept(troubled()))
    Path("folder.md").mkdir()
    with pytest.raises(UsageError, match=r"folder\.md: there is a file already"):
        ran(folder, "-o", "folder.md")
    with pytest.raises(UsageError, match=r"folder\.md: cannot be written: Is a directory"):
        ran(folder, "-o", "folder.md", "--force")
    with pytest.raises(UsageError, match=r"full: cannot be written: No space left on device"):
        ran(folder, "-o", "/dev/full", "--format", "md")
    Path("file").touch()
    with pytest.raises(UsageError, match=r"a\.md: cannot be written: File exists"):
        ran(folder, "-o", "file/a.md")
    ran(folder, "-o", "new/folder/a.md")
    assert Path("new/folder/a.md").read_text().startswith("# ")


def test_a_suffix_that_says_nothing_is_refused_unless_the_format_is_given() -> None:
    folder = str(kept(troubled()))
    with pytest.raises(UsageError, match=r"(?s)talk.pdf: the suffix '.pdf' says no format.*\.json, \.md.*--format"):
        ran(folder, "-o", "talk.pdf")
    ran(folder, "-o", "talk.txt", "--format", "md")
    assert Path("talk.txt").read_text().startswith("# ")
    with pytest.raises(click.BadParameter):
        ran(folder, "--format", "pdf")


def test_a_damaged_log_is_told_by_file_and_line() -> None:
    log = kept(troubled()) / sessions.LOG_NAME
    lines = log.read_bytes().split(b"\n")
    log.write_bytes(b"\n".join([*lines[:3], b"rubbish", *lines[3:]]))
    with pytest.raises(LogError, match=r"events\.jsonl:4: this line is damaged"):
        ran(str(log), "-o", "a.md")
    log.write_bytes(b"\n".join([lines[0], b""]))
    with pytest.raises(LogError, match=r"events\.jsonl: no question was asked in this session"):
        ran(str(log), "-o", "a.md")
    assert not Path("a.md").exists()
