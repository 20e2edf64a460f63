"""The rules of the team, one sentence each."""

import random

import pytest

from massgen.acts import Act, Final, NewAnswer, Verdict, Vote
from massgen.coordination import (
    Ask,
    Rules,
    Step,
    ballot,
    cut_short,
    due,
    interrupted,
    may_answer,
    patient,
    refusal,
    updated_ballot,
)
from massgen.events import (
    Answered,
    Asked,
    Ballot,
    Chosen,
    Evaluated,
    Fact,
    Informed,
    Member,
    Presented,
    Purpose,
    Recorded,
    Reprompted,
    Spent,
    Stopped,
    TurnBegan,
    TurnFailed,
    Voted,
    VotingOpened,
)
from massgen.state import Spending, State, apply, fold, normalised

RULES = Rules()
REUSE = Rules(final_answer_strategy="winner_reuse")


class Table:
    """A team around a table: facts are added, and the rules asked what is due."""

    def __init__(self, *names: str) -> None:
        self.facts: list[Recorded] = []
        self.turns: dict[str, int] = {}
        self.given: dict[str, int] = {}
        self.add(Asked("?", tuple(Member(name, "x", "x") for name in names)))

    def add(self, fact: Fact) -> int:
        self.facts.append(Recorded(len(self.facts) + 1, 0.0, fact))
        return len(self.facts)

    @property
    def state(self) -> State:
        return fold(self.facts)

    def due(self, rules: Rules = RULES) -> list[Step]:
        return due(self.state, rules)

    def begin(self, name: str, purpose: Purpose = "answer", shown: Ballot | None = None) -> "Table":
        if shown is None:
            entries = self.state.entries if purpose not in ("answer", "solo") else []
            shown = {f"agent{number}": entry for number, entry in enumerate(entries, 1)}
        self.turns[name] = self.add(TurnBegan(name, purpose, shown))
        return self

    def answer(self, **contents: str) -> "Table":
        """Each gives its answer: in its open turn, or in a first one."""
        for name, content in contents.items():
            if self.state.seats[name].turn is None:
                self.begin(name)
            self.given[name] = self.add(Answered(name, self.turns[name], content))
        return self

    def open(self) -> "Table":
        self.add(VotingOpened("all answered"))
        return self

    def vote(self, **choices: str) -> "Table":
        """Each votes for the current answer of an agent, having been shown all."""
        for name, author in choices.items():
            if self.state.seats[name].turn is None:
                self.begin(name, "decide")
            self.add(Voted(name, self.turns[name], self.given[author], f"{author} is right"))
        return self

    def fail(self, *names: str, kind: str = "error") -> "Table":
        for name in names:
            if self.state.seats[name].turn is None:
                self.begin(name)
            self.add(TurnFailed(name, self.turns[name], kind, "broken"))
        return self

    def settle(self, rules: Rules = RULES) -> "Table":
        """Record what is due until somebody must be asked."""
        while (steps := self.due(rules)) and not any(isinstance(step, Ask) for step in steps):
            for step in steps:
                assert not isinstance(step, Ask)
                self.add(step)
        return self

    def present(self, name: str, content: str = "Final.") -> "Table":
        self.begin(name, "present")
        self.add(Presented(name, self.turns[name], content))
        return self

    def evaluate(self, name: str, verdict: str, instructions: str = "") -> "Table":
        self.begin(name, "evaluate")
        self.add(Evaluated(name, self.turns[name], verdict, "because", instructions))
        return self


def three() -> Table:
    """A team of three whose vote is open."""
    return Table("a", "b", "c").answer(a="Sky", b="Sea", c="Sand").open()


# --- first answers -------------------------------------------------------------------------------------------------


def test_nothing_is_due_before_the_question_is_put_or_after_the_run_stopped() -> None:
    assert due(State(), RULES) == []
    table = Table("a")
    table.add(Stopped("interrupted"))
    assert table.due() == []


def test_everybody_is_asked_for_a_first_answer_at_once() -> None:
    assert Table("a", "b").due() == [Ask("a", "answer"), Ask("b", "answer")]


def test_who_has_answered_waits_for_the_others() -> None:
    table = Table("a", "b").begin("b").answer(a="Sky")
    assert table.due() == []
    assert patient(table.state, RULES)


def test_the_vote_opens_when_everybody_still_there_has_answered() -> None:
    table = Table("a", "b", "c").answer(a="Sky", b="Sea").fail("c")
    assert table.due() == [VotingOpened("all answered")]


def test_when_patience_ran_out_those_who_answered_vote_and_the_late_one_goes_on() -> None:
    table = Table("a", "b", "c").begin("b").answer(a="Sky", c="Sea")
    table.add(VotingOpened("patience ran out"))
    assert table.due() == [Ask("a", "decide"), Ask("c", "decide")]
    assert not patient(table.state, RULES)


def test_a_late_first_answer_voids_the_votes_given_without_it() -> None:
    table = Table("a", "b").begin("b").answer(a="Sky")
    table.add(VotingOpened("patience ran out"))
    table.vote(a="a").answer(b="Sea")
    assert table.due() == [Ask("a", "decide"), Ask("b", "decide")]


def test_as_they_come_an_agent_decides_as_soon_as_it_can_see_an_answer() -> None:
    table = Table("a", "b", "c").begin("b").answer(a="Sky")
    rules = Rules(first_answers="as_they_come")
    assert table.due(rules) == [Ask("c", "decide")]
    assert not patient(table.state, rules)


@pytest.mark.parametrize("ending", ["answers", "votes", "fails"])
def test_who_sees_only_its_own_answer_is_asked_when_the_others_have_acted_or_left(ending: str) -> None:
    table, rules = Table("a", "b").answer(a="Sky"), Rules(first_answers="as_they_come")
    table.begin("b", "decide")
    assert table.due(rules) == []
    match ending:
        case "answers":
            assert table.answer(b="Sea").due(rules) == [Ask("a", "decide"), Ask("b", "decide")]
        case "votes":
            assert table.vote(b="a").due(rules) == [Ask("a", "decide")]
        case _:
            assert table.fail("b").due(rules) == [Chosen(table.state.leader, {}, "only answer")]


# --- the choice ----------------------------------------------------------------------------------------------------


def test_a_lone_agent_does_the_whole_task_and_its_answer_is_taken_as_it_stands() -> None:
    table = Table("a")
    assert table.due() == [Ask("a", "solo")]
    table.begin("a", "solo").answer(a="Sky").settle()
    kinds = [recorded.fact for recorded in table.facts[3:]]
    assert kinds == [Chosen(3, {}, "single agent"), Presented("a", None, "Sky"), Stopped("answered")]


def test_the_plurality_wins() -> None:
    table = three().vote(a="b", b="b", c="a")
    assert table.due() == [Chosen(table.given["b"], {table.given["b"]: 2, table.given["a"]: 1}, "consensus")]


def test_of_equal_tallies_the_earliest_answer_wins() -> None:
    table = three().vote(a="c", b="b", c="a")
    assert table.due() == [Chosen(table.given["a"], dict.fromkeys(table.given.values(), 1), "consensus")]


def test_votes_for_equal_answers_are_added_up() -> None:
    table = Table("a", "b", "c", "d", "e").answer(a="Sea", b="Sky", c="Sand", d=" SKY.", e="Salt").open()
    table.vote(a="a", b="a", c="b", d="d", e="d")
    assert table.state.tally == {table.given["a"]: 2, table.given["b"]: 3}
    assert table.state.leader == table.given["b"]


def test_a_vote_that_did_not_see_a_new_answer_is_void_and_its_voter_is_asked_again() -> None:
    table = three().begin("a", "decide").begin("b", "decide").answer(b="Sea and sky").vote(a="c")
    assert table.state.tally == {}
    assert Ask("a", "decide") in table.due()


def test_a_vote_given_before_a_new_answer_is_void() -> None:
    table = three().vote(a="c", c="c").begin("b", "decide").answer(b="Sea and sky")
    assert table.due() == [Ask(name, "decide") for name in "abc"]


def test_an_agent_that_fails_while_deciding_is_not_waited_for_but_its_answer_stays() -> None:
    table = three().vote(a="c", b="c").begin("c", "decide").fail("c")
    assert table.due() == [Chosen(table.given["c"], {table.given["c"]: 2}, "consensus")]


def test_the_only_agent_left_need_not_vote_for_the_only_answer() -> None:
    table = Table("a", "b").answer(a="Sky").fail("b").open()
    assert table.due() == [Chosen(table.given["a"], {}, "only answer")]


def test_an_agent_that_is_deciding_when_it_becomes_the_only_one_may_finish() -> None:
    table = Table("a", "b").answer(a="Sky", b="sky.").open().begin("a", "decide").begin("b", "decide").fail("b")
    assert table.due() == []
    table.fail("a", kind="interrupted")
    assert table.due() == [Chosen(table.given["a"], {}, "only answer")]


def test_the_only_agent_left_votes_when_there_are_more_answers_than_its_own() -> None:
    table = Table("a", "b").answer(a="Sky", b="Sea").open().begin("b", "decide").fail("b")
    assert table.due() == [Ask("a", "decide")]


def test_when_all_fail_after_an_answer_the_leader_is_taken_as_it_stands() -> None:
    table = Table("a", "b").answer(a="Sky", b="Sea").open()
    table.begin("a", "decide").begin("b", "decide").fail("a", "b").settle()
    last = [recorded.fact for recorded in table.facts[-3:]]
    assert last == [Chosen(table.given["a"], {}, "all failed"), Presented("a", None, "Sky"), Stopped("all failed")]


def test_when_all_fail_without_an_answer_the_run_stops_without_one() -> None:
    assert Table("a", "b").fail("a", "b").due() == [Stopped("no answer")]


def test_stop_decided_ends_as_soon_as_the_outstanding_votes_cannot_matter() -> None:
    decided = Rules(stop="decided")
    table = three().begin("c", "decide").vote(a="a")
    assert table.due(decided) == [Ask("b", "decide")]
    table.vote(b="a")
    assert table.due(decided) == [Chosen(table.given["a"], {table.given["a"]: 2}, "decided")]
    assert table.due() == []


def test_stop_decided_counts_a_tie_for_the_earlier_answer() -> None:
    for favourite, is_decided in (("a", True), ("b", False)):
        table = Table("a", "b").answer(a="Sky", b="Sea").open().vote(a=favourite).begin("b", "decide")
        assert bool(table.due(Rules(stop="decided"))) is is_decided


def test_stop_decided_waits_for_a_late_first_answer() -> None:
    table = Table("a", "b", "c", "d").begin("d").answer(a="Sky", b="Sea", c="Sand")
    table.add(VotingOpened("patience ran out"))
    assert table.vote(a="a", b="a", c="a").due(Rules(stop="decided")) == []


def test_the_turns_that_the_vote_overtook_are_cancelled() -> None:
    table = three().begin("c", "decide").vote(a="a", b="a").settle(Rules(stop="decided"))
    assert table.facts[-1].fact == TurnFailed("c", table.turns["c"], "cancelled", "the vote was over")
    assert not table.state.seats["c"].left


@pytest.mark.parametrize("first_answers", ["independent", "as_they_come"])
def test_without_a_vote_the_earliest_answer_wins_once_everybody_has_answered(first_answers: str) -> None:
    rules = Rules(skip_voting=True, first_answers=first_answers)
    table = Table("a", "b").begin("a").begin("b").answer(b="Sea")
    assert table.due(rules) == []
    assert patient(table.state, rules), "here, too, patience may run out"
    table.answer(a="Sky").settle(rules)
    assert table.state.chosen == Chosen(table.given["b"], {}, "voting skipped")


# --- the final answer ----------------------------------------------------------------------------------------------


def test_the_winner_presents() -> None:
    table = three().vote(a="b", b="b", c="b").settle()
    assert table.due() == [Ask("b", "present")]
    assert table.begin("b", "present").due() == []
    table.add(Presented("b", table.turns["b"], "Final."))
    assert table.due() == [Stopped("answered")]


def test_with_winner_reuse_the_answer_is_taken_as_it_stands() -> None:
    table = three().vote(a="b", b="b", c="b").settle(REUSE)
    assert [recorded.fact for recorded in table.facts[-2:]] == [Presented("b", None, "Sea"), Stopped("answered")]


def test_when_the_presenter_fails_another_author_of_the_same_answer_presents() -> None:
    table = Table("a", "b", "c").answer(a="Sky", b="Sea", c="sky.").open().vote(a="a", b="a", c="c").settle()
    table.begin("a", "present").fail("a")
    assert table.due() == [Ask("c", "present")]
    table.begin("c", "present").fail("c")
    assert table.due() == [Presented("a", None, "Sky")]


def test_a_presenter_that_was_interrupted_is_asked_again() -> None:
    table = three().vote(a="b", b="b", c="b").settle().begin("b", "present").fail("b", kind="interrupted")
    assert table.due() == [Ask("b", "present")]


def test_a_winner_that_has_left_is_quoted() -> None:
    table = three().vote(a="c", b="c").begin("c", "decide").fail("c").settle()
    assert Presented("c", None, "Sand") in [recorded.fact for recorded in table.facts]


# --- sending it back -----------------------------------------------------------------------------------------------

ONCE = Rules(max_restarts=1)


def evaluating() -> Table:
    return three().vote(a="b", b="b", c="b").settle(ONCE).present("b")


def test_the_winner_checks_the_final_answer_when_restarts_are_allowed() -> None:
    table = evaluating()
    assert table.due() == [Stopped("answered")]
    assert table.due(ONCE) == [Ask("b", "evaluate")]
    assert table.begin("b", "evaluate").due(ONCE) == []


def test_a_submitted_answer_ends_the_run() -> None:
    assert evaluating().evaluate("b", "submit").due(ONCE) == [Stopped("answered")]


def test_a_restart_sends_the_team_back_with_the_answer_and_what_was_wrong() -> None:
    table = evaluating().evaluate("b", "restart", "Add the sun.")
    state = table.state
    assert table.due(ONCE) == [Ask(name, "answer") for name in "abc"]
    assert (state.feedback, state.restarts) == ("Add the sun.", 1)
    assert state.previous
    assert state.previous.content == "Final."
    assert (state.answers, state.chosen, state.presented, state.voting_open) == ({}, None, None, False)
    assert may_answer(state, Rules(max_new_answers_per_agent=1), "a")


def test_a_restart_without_instructions_passes_on_its_reason() -> None:
    assert evaluating().evaluate("b", "restart").state.feedback == "because"


def test_the_last_attempt_is_not_checked() -> None:
    table = evaluating().evaluate("b", "restart").answer(a="1", b="2", c="3").open().vote(a="a", b="a", c="a")
    assert table.settle(ONCE).present("a").due(ONCE) == [Stopped("answered")]


def test_who_left_in_one_attempt_is_not_in_the_next() -> None:
    table = three().vote(a="b", b="b").begin("c", "decide").fail("c").settle(ONCE).present("b").evaluate("b", "restart")
    assert table.due(ONCE) == [Ask("a", "answer"), Ask("b", "answer")]


def test_an_evaluator_that_fails_lets_the_answer_stand() -> None:
    assert evaluating().begin("b", "evaluate").fail("b").due(ONCE) == [Stopped("answered")]


def test_when_all_fail_after_a_restart_the_answer_that_was_sent_back_is_better_than_none() -> None:
    table = evaluating().evaluate("b", "restart").fail("a", "b", "c").settle(ONCE)
    assert [recorded.fact for recorded in table.facts[-2:]] == [Presented("b", None, "Final."), Stopped("all failed")]


# --- when time runs out --------------------------------------------------------------------------------------------


def test_cut_short_before_any_answer_there_is_none() -> None:
    table = Table("a", "b").begin("a").begin("b")
    ended = [TurnFailed(name, table.turns[name], "cancelled", "time ran out") for name in "ab"]
    assert cut_short(table.state) == [*ended, Stopped("timeout")]


def test_cut_short_while_voting_the_leader_is_taken_with_the_votes_that_count() -> None:
    table = three().vote(a="b")
    chosen = Chosen(table.given["b"], {table.given["b"]: 1}, "timeout")
    assert cut_short(table.state) == [chosen, Presented("b", None, "Sea"), Stopped("timeout")]


def test_cut_short_while_presenting_the_chosen_answer_is_taken_as_it_stands() -> None:
    table = three().vote(a="b", b="b", c="b").settle().begin("b", "present")
    ended = TurnFailed("b", table.turns["b"], "cancelled", "time ran out")
    assert cut_short(table.state) == [ended, Presented("b", None, "Sea"), Stopped("timeout")]


def test_cut_short_while_checking_the_presented_answer_stands() -> None:
    table = evaluating().begin("b", "evaluate")
    assert cut_short(table.state)[1:] == [Stopped("answered")]


def test_cut_short_in_a_second_attempt_without_answers_the_first_attempts_answer_is_taken() -> None:
    table = evaluating().evaluate("b", "restart")
    assert cut_short(table.state) == [Presented("b", None, "Final."), Stopped("timeout")]


def test_a_process_that_died_after_that_goes_on_to_a_choice_and_presents_it() -> None:
    table = evaluating().evaluate("b", "restart")
    table.add(Presented("b", None, "Final."))
    table.answer(a="1", b="2", c="3").open().vote(a="a", b="a", c="a").settle(ONCE)
    assert table.due(ONCE) == [Ask("a", "present")]


def test_an_interrupted_turn_costs_nothing_and_is_due_again() -> None:
    table = Table("a", "b").begin("a")
    for fact in interrupted(table.state, "interrupted", "the process ended"):
        table.add(fact)
    assert table.due() == [Ask("a", "answer"), Ask("b", "answer")]


# --- the ballot ----------------------------------------------------------------------------------------------------


def test_a_ballot_has_neutral_labels_in_an_order_of_its_own_for_each_voter() -> None:
    state = three().state
    orders = {tuple(ballot(state, random.Random(seed).shuffle).values()) for seed in range(60)}
    assert len(orders) == 6
    assert [*ballot(state, lambda entries: None)] == ["agent1", "agent2", "agent3"]


def test_an_agent_that_revises_keeps_its_label() -> None:
    table = three().begin("a", "decide").begin("b", "decide").answer(b="Sea and sky")
    a, b, c = (table.given[name] for name in "abc")
    assert updated_ballot(table.state, table.state.seats["a"]) == {"agent1": (a,), "agent2": (b,), "agent3": (c,)}


def test_a_first_answer_that_comes_late_gets_a_new_label() -> None:
    table = Table("a", "b").begin("b").answer(a="Sky").open().begin("a", "decide").answer(b="Sea")
    updated = updated_ballot(table.state, table.state.seats["a"])
    assert updated == {"agent1": (table.given["a"],), "agent2": (table.given["b"],)}


def test_a_label_that_vanished_is_not_used_again_in_the_turn() -> None:
    table = three().begin("a", "decide").begin("c", "decide").answer(c="sky.")
    merged = updated_ballot(table.state, table.state.seats["a"])
    assert merged == {"agent1": (table.given["a"], table.given["c"]), "agent2": (table.given["b"],)}
    table.add(Informed("a", table.turns["a"], merged))
    table.begin("c", "decide").answer(c="Something else")
    split = updated_ballot(table.state, table.state.seats["a"])
    assert split == {"agent1": (table.given["a"],), "agent2": (table.given["b"],), "agent4": (table.given["c"],)}


def test_when_equal_answers_part_the_label_stays_with_the_text_that_was_shown_under_it() -> None:
    table = Table("a", "b", "c").answer(a="Sky", b="sky.", c="Sea").open().begin("c", "decide")
    table.begin("a", "decide").answer(a="Sand")
    updated = updated_ballot(table.state, table.state.seats["c"])
    assert updated == {"agent1": (table.given["b"],), "agent2": (table.given["c"],), "agent3": (table.given["a"],)}


# --- which acts end a turn -----------------------------------------------------------------------------------------


def deciding() -> State:
    return three().begin("a", "decide").state


@pytest.mark.parametrize(
    ("purpose", "act"),
    [
        ("answer", Vote("agent1")),
        ("answer", Final("Sky")),
        ("decide", Final("Sky")),
        ("decide", Verdict("restart")),
        ("present", Vote("agent1")),
        ("present", NewAnswer("Sky")),
        ("evaluate", Final("Sky")),
        ("solo", Verdict("submit")),
    ],
)
def test_a_turn_does_not_end_in_an_act_of_another_kind_of_turn(purpose: Purpose, act: Act) -> None:
    state = three().begin("a", purpose).state
    assert "cannot end so" in (refusal(state, RULES, "a", act) or "")


@pytest.mark.parametrize(
    ("purpose", "act"),
    [
        ("solo", Final("Sky")),
        ("answer", NewAnswer("Sky")),
        ("decide", Vote("agent3")),
        ("decide", NewAnswer("Salt")),
        ("present", Final("Sky")),
        ("evaluate", Verdict("submit")),
    ],
)
def test_each_kind_of_turn_ends_in_its_acts(purpose: Purpose, act: Act) -> None:
    assert refusal(three().begin("a", purpose).state, RULES, "a", act) is None


def test_empty_answers_are_refused() -> None:
    assert "empty" in (refusal(deciding(), RULES, "a", NewAnswer(" \n")) or "")
    assert "empty" in (refusal(three().begin("a", "present").state, RULES, "a", Final("")) or "")


def test_a_vote_for_nobody_on_the_ballot_is_refused_with_those_who_are() -> None:
    why = refusal(deciding(), RULES, "a", Vote("agent" + "9" * 500)) or ""
    assert "agent1, agent2, agent3" in why
    assert len(why) < 120


def test_at_the_cap_an_answer_is_refused() -> None:
    one = Rules(max_new_answers_per_agent=1)
    assert not may_answer(deciding(), one, "a")
    assert "Vote" in (refusal(deciding(), one, "a", NewAnswer("Salt")) or "")
    assert may_answer(deciding(), Rules(max_new_answers_per_agent=None), "a")


def test_an_answer_that_is_on_the_ballot_is_refused_by_its_label() -> None:
    assert "agent2's" in (refusal(deciding(), RULES, "a", NewAnswer("  SEA. ")) or "")


def test_repeating_an_answer_whose_twin_has_been_revised_meanwhile_is_refused() -> None:
    table = Table("a", "b").answer(a="Sky", b="sky.").open().begin("b", "decide").begin("a", "decide").answer(a="Sea")
    assert refusal(table.state, RULES, "b", NewAnswer("sky"))


def test_an_answer_that_everybody_has_left_behind_may_be_given_again() -> None:
    table = three().begin("a", "decide").begin("b", "decide").answer(b="Sea and sky")
    assert refusal(table.state, RULES, "a", NewAnswer("Sea")) is None


TEN = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    ("requirement", "shared", "refused"),
    [("lenient", 9, False), ("balanced", 9, True), ("balanced", 8, False), ("strict", 7, True), ("strict", 6, False)],
)
def test_novelty_is_the_share_of_words_in_common(requirement: str, shared: int, refused: bool) -> None:
    """Of 20 words in all, `shared` in both: 9 of 11 (82 %), 8 of 12 (67 %), 7 of 13 (54 %), 6 of 14 (43 %)."""
    table = Table("a", "b").answer(a=TEN, b="Sea").open().begin("b", "decide")
    words = [*TEN.upper().split()[:shared], *(f"new{n}" for n in range(10 - shared))]
    rules = Rules(answer_novelty_requirement=requirement)
    assert bool(refusal(table.state, rules, "b", NewAnswer(" ".join(words)))) is refused


def test_answers_without_words_are_compared_as_they_stand() -> None:
    table = Table("a", "b").answer(a="!!", b="Sea").open().begin("b", "decide")
    strict = Rules(answer_novelty_requirement="strict")
    assert refusal(table.state, strict, "b", NewAnswer("??"))
    assert refusal(table.state, RULES, "b", NewAnswer("??")) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Canberra", "canberra.", True),
        ("Two  words", "two\nwords ", True),
        ("Straße", "STRASSE", True),
        ("r\u00e9sum\u00e9", "re\u0301sume\u0301", True),
        ("Done .", "done", True),
        ("10\u00b2", "102", False),
        ("C++", "C", False),
        ("Yes!", "Yes?", False),
        ("-1", "1", False),
        ("1.5", "15", False),
    ],
)
def test_answers_are_the_same_but_for_case_spacing_unicode_form_and_final_full_stop(
    one: str, other: str, same: bool
) -> None:
    assert (normalised(one) == normalised(other)) is same


# --- the fold ------------------------------------------------------------------------------------------------------


def test_what_was_spent_adds_up_over_attempts_and_counts_known_costs_only() -> None:
    table = Table("a").begin("a", "solo")
    assert table.state.spent == Spending()
    table.add(Spent("a", 2, "m", 10, 5, None, 0.1))
    assert table.state.spent == Spending(1, 10, 5, None)
    table.add(Spent("a", 2, "m", 1, 1, 0.25, 0.1))
    table.add(Reprompted("a", 2, "again"))
    assert table.state.spent == Spending(2, 11, 6, 0.25)


def test_a_seat_says_why_it_was_left_even_if_no_cause_was_given() -> None:
    table = Table("a").begin("a", "solo")
    state = apply(table.state, Recorded(3, 0.0, TurnFailed("a", 2, "timeout", "")))
    assert state.seats["a"].left == "timeout"
