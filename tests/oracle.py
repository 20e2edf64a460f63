"""Re-reads a finished run from the raw lines of its log and checks it against the design, sharing no code with the rules.

`check(path)` raises `AssertionError` naming the line. It knows JSON only: not `massgen.state`, not `massgen.coordination`.
"""

import itertools
import json
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Line: TypeAlias = dict[str, Any]
DROPPING = ("error", "protocol", "timeout")
DELIBERATION = ("solo", "answer", "decide", "summarise")
PROMPTS, ATTEMPTS = 3, 6


@dataclass(frozen=True)
class Limits:
    """What the run was configured with, as far as a log can show that it was kept."""

    cap: int | None = 3
    independent: bool = True
    decided: bool = False
    max_restarts: int = 0


@dataclass
class Turn:
    seq: int
    agent: str
    purpose: str
    ballot: dict[str, list[int]]
    used: set[str] = field(default_factory=set)
    said: int = 0
    retried: int = 0
    open_reply: Line | None = None
    """The last model call's message, until it was refused."""
    closed: str = ""


@dataclass
class Attempt:
    """One attempt of the team: a restart begins another."""

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Author -> its current answer."""
    history: dict[int, str] = field(default_factory=dict)
    """Every answer of the attempt -> its author."""
    votes: dict[str, tuple[int, list[int]]] = field(default_factory=dict)
    """Voter -> its last vote and what it had been shown."""
    turns: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    opened: bool = False
    chosen: Line | None = None
    presented: Line | None = None

    @property
    def current(self) -> set[int]:
        return {seq for seq, _ in self.answers.values()}

    @property
    def entries(self) -> set[tuple[int, ...]]:
        groups: dict[str, list[int]] = {}
        for seq, content in sorted(self.answers.values()):
            groups.setdefault(same(content), []).append(seq)
        return {tuple(group) for group in groups.values()}

    @property
    def counted(self) -> dict[str, int]:
        """Voter -> the first answer of the entry it chose, of the votes that saw every current answer."""
        first = {seq: entry[0] for entry in self.entries for seq in entry}
        return {voter: first[choice] for voter, (choice, shown) in self.votes.items() if self.current <= {*shown}}


def same(content: str) -> str:
    """Equal for answers that differ only in case, white space, composed characters and a full stop at the end."""
    folded = unicodedata.normalize("NFC", content).casefold()
    return " ".join(folded.split()).removesuffix(".").rstrip()


def check(path: Path, limits: Limits = Limits()) -> None:
    """Whether the run in the log at `path` kept every truth of the design."""
    header, *rest = path.read_bytes().decode().split("\n")[:-1]
    assert json.loads(header) == {"massgen": "session log", "format": 1}
    lines = [json.loads(line) for line in rest]
    assert [line["seq"] for line in lines] == [*range(1, len(lines) + 1)], "not numbered 1, 2, ..."
    assert lines, "the log is empty"
    assert lines[0]["type"] == "Asked"
    oracle = Oracle(limits, lines[0]["roster"])
    for line in lines[1:]:
        try:
            oracle.follow(line)
        except AssertionError as error:
            raise AssertionError(f"line {line['seq'] + 1}: {json.dumps(line)[:300]}\n{error}") from error
    assert oracle.stopped, "the run did not stop"


@dataclass
class Oracle:
    limits: Limits
    team: list[Line]
    attempt: Attempt = field(default_factory=Attempt)
    turns: dict[int, Turn] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    restarts: int = 0
    previous: Line | None = None
    stopped: Line | None = None

    @property
    def roster(self) -> list[str]:
        return [member["id"] for member in self.team]

    @property
    def living(self) -> list[str]:
        return [agent for agent in self.roster if agent not in self.dropped]

    def follow(self, line: Line) -> None:
        assert not self.stopped or line["type"] in ("Asked", "Resumed"), "recorded after the end"
        getattr(self, f"_on_{line['type'].lower()}")(line)

    def _open(self, line: Line, *purposes: str) -> Turn:
        turn = self.turns[line["turn"]]
        assert turn.agent == line["agent"], "another agent's turn"
        assert not turn.closed, f"the turn ended before, in {turn.closed}"
        assert not purposes or turn.purpose in purposes, f"not in a turn of purpose {turn.purpose}"
        return turn

    def _close(self, line: Line, *purposes: str) -> Turn:
        turn = self._open(line, *purposes)
        turn.closed = line["type"]
        return turn

    def _on_asked(self, line: Line) -> None:
        assert all(turn.closed for turn in self.turns.values())
        self.team, self.attempt, self.dropped, self.restarts = line["roster"], Attempt(), {}, 0
        self.previous = self.stopped = None

    def _on_resumed(self, line: Line) -> None:
        """Turns that the interruption ended go on, but for those whose agent is another model now; everybody is back."""
        why = self.stopped["why"] if self.stopped else "interrupted"
        assert why == "interrupted" or not self.attempt.presented, "it had come to its end"
        same = [member["id"] for member in line["roster"] if member in self.team]
        latest = {turn.agent: turn for turn in self.turns.values()}
        for turn in self.turns.values():
            goes_on = turn is latest[turn.agent] and turn.agent in same
            turn.closed = (
                "" if turn.closed == "interrupted" and goes_on else turn.closed or ("" if goes_on else "Resumed")
            )
        self.attempt.excused.update([*self.dropped, *self.roster])
        self.team, self.dropped, self.stopped = line["roster"], {}, None

    def _on_summarised(self, line: Line) -> None:
        assert line["content"] in self._reply(self._close(line, "summarise"))

    # --- turns ---

    def _on_turnbegan(self, line: Line) -> None:
        agent, purpose, now = line["agent"], line["purpose"], self.attempt
        assert agent in self.living, "asked after it was dropped"
        assert all(turn.closed for turn in self.turns.values() if turn.agent == agent), "two turns at once"
        turn = Turn(line["seq"], agent, purpose, line.get("ballot", {}))
        turn.used = {*turn.ballot}
        self.turns[turn.seq] = turn
        assert (now.chosen is None) == (purpose in DELIBERATION), "not the time for this"
        getattr(self, f"_begins_{purpose}")(turn)
        now.turns[agent] += 1
        needed = 3 + len(now.history) + now.excused[agent]  # first answer, vote after each answer, present, evaluate
        assert now.turns[agent] <= needed + 1, "asked more often than anything new could justify"

    def _begins_summarise(self, turn: Turn) -> None:
        assert not turn.ballot
        assert all(other.closed for other in self.turns.values() if other is not turn), "before all else"

    def _begins_solo(self, turn: Turn) -> None:
        assert len(self.roster) == 1
        assert not turn.ballot

    def _begins_answer(self, turn: Turn) -> None:
        assert len(self.roster) > 1
        assert not turn.ballot, "a first answer is independent"
        assert turn.agent not in self.attempt.answers, "it has answered before"

    def _begins_decide(self, turn: Turn) -> None:
        self._shows_everything(turn.ballot)
        assert self.attempt.opened or not self.limits.independent, "saw answers before the vote was open"
        assert turn.agent not in self.attempt.counted, "its vote counts already"

    def _begins_present(self, turn: Turn) -> None:
        self._shows_everything(turn.ballot)
        assert self.attempt.presented is None
        assert self.attempt.chosen
        assert self.attempt.chosen["answer"] in next(iter(turn.ballot.values())), "the winner is not shown first"
        assert turn.agent in self._winners

    def _begins_evaluate(self, turn: Turn) -> None:
        self._shows_everything(turn.ballot)
        assert self.attempt.presented
        assert turn.agent in self._winners
        assert self.restarts < self.limits.max_restarts

    @property
    def _winners(self) -> set[str]:
        assert self.attempt.chosen
        (entry,) = [entry for entry in self.attempt.entries if self.attempt.chosen["answer"] in entry]
        return {self.attempt.history[seq] for seq in entry}

    def _shows_everything(self, ballot: dict[str, list[int]]) -> None:
        shown = [tuple(entry) for entry in ballot.values()]
        assert len(shown) == len({*shown}), "an entry under two labels"
        assert {*shown} == self.attempt.entries, "the ballot is not the current answers, equal ones together"
        assert {*ballot} == {f"agent{number}" for number in range(1, len(ballot) + 1)}, (
            "labels are not agent1, agent2, ..."
        )

    def _on_informed(self, line: Line) -> None:
        turn, ballot = self._open(line, "decide"), line["ballot"]
        author = self.attempt.history
        for label, entry in ballot.items():
            if label in turn.ballot:
                shared = {author[seq] for seq in entry} & {author[seq] for seq in turn.ballot[label]}
                assert shared, f"{label} changed hands"
            else:
                assert label not in turn.used, f"{label} meant something else earlier in this turn"
        turn.ballot, turn.used = ballot, turn.used | {*ballot}
        shown = [tuple(entry) for entry in ballot.values()]
        assert sorted(shown) == sorted(self.attempt.entries), "not told of every current answer"

    # --- what a turn does ---

    def _on_said(self, line: Line) -> None:
        turn = self._open(line)
        turn.said, turn.open_reply = turn.said + 1, line["message"]
        assert turn.said <= PROMPTS, "more model calls than a turn may make"

    def _on_spent(self, line: Line) -> None:
        assert self._open(line).said, "paid for no model call"

    def _on_retried(self, line: Line) -> None:
        turn = self._open(line)
        turn.retried += 1
        assert turn.retried <= PROMPTS * (ATTEMPTS - 1), "retried without bound"

    def _on_reprompted(self, line: Line) -> None:
        turn = self._open(line)
        assert line["why"].strip()
        assert turn.open_reply is not None, "refused a reply that was not given"
        turn.open_reply = None

    def _reply(self, turn: Turn) -> str:
        assert turn.open_reply is not None, "an act without a reply, or one that was refused"
        parts = turn.open_reply["parts"]
        assert parts
        texts = [part.get("text", "") + part.get("arguments", "") for part in parts]
        return "".join(texts)

    # --- how a turn ends ---

    def _on_answered(self, line: Line) -> None:
        turn, now, content = self._close(line, *DELIBERATION), self.attempt, line["content"]
        assert content.strip()
        reply = self._reply(turn)
        assert "\ufffd" in content or content in reply or json.dumps(content)[1:-1] in reply, "not what it said last"
        given = sum(author == turn.agent for author in now.history.values())
        assert turn.purpose != "decide" or self.limits.cap is None or given < self.limits.cap, "beyond the cap"
        texts = dict(now.answers.values())
        shown = [same(texts[seq]) for entry in turn.ballot.values() for seq in entry if seq in texts]
        assert same(content) not in shown, "it repeats what it was shown"
        now.answers[turn.agent] = (line["seq"], content)
        now.history[line["seq"]] = turn.agent
        now.votes.clear()

    def _on_voted(self, line: Line) -> None:
        turn = self._close(line, "decide")
        self._reply(turn)
        shown = [seq for entry in turn.ballot.values() for seq in entry]
        assert line["choice"] in shown, "voted for what it was not shown"
        self.attempt.votes[turn.agent] = (line["choice"], shown)
        if not self.attempt.current <= {*shown}:
            del self.attempt.votes[turn.agent]

    def _on_turnfailed(self, line: Line) -> None:
        turn = self._close(line)
        if line["kind"] in DROPPING:
            assert line["cause"].strip(), "dropped without a reason"
            self.dropped[turn.agent] = line["cause"]
        else:
            self.attempt.excused[turn.agent] += 1
            turn.closed = "interrupted" if line["kind"] == "interrupted" else turn.closed

    # --- milestones ---

    def _on_votingopened(self, line: Line) -> None:
        answered = [agent in self.attempt.answers for agent in self.living]
        assert not self.attempt.opened
        assert self.attempt.answers
        assert line["why"] == "patience ran out" or all(answered)
        self.attempt.opened = True

    def _on_chosen(self, line: Line) -> None:
        now, tally = self.attempt, Counter(self.attempt.counted.values())
        assert now.chosen is None
        assert Counter({int(seq): votes for seq, votes in line["tally"].items()}) == tally, f"the tally is {tally}"
        assert line["answer"] == winner(now.entries, tally), "not the winner"
        if line["why"] != "timeout":
            getattr(self, f"_by_{line['why'].replace(' ', '_')}")(tally)
        now.chosen = line

    def _by_consensus(self, tally: Counter[int]) -> None:
        assert {*self.attempt.counted} == {*self.living}, "someone's vote is missing or stale"

    def _by_decided(self, tally: Counter[int]) -> None:
        assert self.limits.decided
        outstanding = len(self.living) - len(self.attempt.counted)
        firsts = [entry[0] for entry in self.attempt.entries]
        for rest in itertools.combinations_with_replacement(firsts, outstanding):
            final = winner(self.attempt.entries, tally + Counter(rest))
            assert final == winner(self.attempt.entries, tally), f"{rest} would change the winner"

    def _by_single_agent(self, tally: Counter[int]) -> None:
        assert len(self.roster) == 1

    def _by_voting_skipped(self, tally: Counter[int]) -> None:
        assert not tally
        assert self.attempt.opened

    def _by_only_answer(self, tally: Counter[int]) -> None:
        assert len(self.living) == len(self.attempt.entries) == 1

    def _by_all_failed(self, tally: Counter[int]) -> None:
        assert not self.living

    def _on_presented(self, line: Line) -> None:
        now = self.attempt
        assert line["content"].strip(), "nothing was presented"
        if line.get("turn") is not None:
            assert line["content"].strip() in self._reply(self._close(line, "present"))
        elif now.chosen:
            assert (now.chosen["answer"], line["content"]) in now.answers.values(), "not the answer that was chosen"
        else:
            assert self.previous, "nothing to present"
            assert self.previous["content"] == line["content"]
        now.presented = line

    def _on_evaluated(self, line: Line) -> None:
        self._close(line, "evaluate")
        assert self.attempt.presented
        if line["verdict"] == "restart":
            self.restarts += 1
            assert self.restarts <= self.limits.max_restarts
            assert all(turn.closed for turn in self.turns.values())
            self.previous, self.attempt = self.attempt.presented, Attempt()

    def _on_stopped(self, line: Line) -> None:
        now, why = self.attempt, line["why"]
        assert all(turn.closed for turn in self.turns.values()), "a turn was left open"
        if why in ("answered", "all failed"):
            assert now.presented
        if why == "no answer":
            assert not now.answers
            assert not self.living, "it gave up while someone was there"
        if why == "timeout":
            assert now.presented or not (now.answers or self.previous), "an answer was thrown away"
        self.stopped = line


def winner(entries: set[tuple[int, ...]], tally: Counter[int]) -> int:
    """The entry with the most votes; among equals, the one given first."""
    return min((-tally[entry[0]], entry[0]) for entry in entries)[1]
