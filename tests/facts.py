"""Builds the facts of plausible runs, with the log's own numbering and a steady clock."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from massgen.events import (
    Answered,
    Asked,
    Ballot,
    Chosen,
    Evaluated,
    Fact,
    Member,
    PlanChanged,
    Presented,
    Purpose,
    Recorded,
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
)
from massgen.messages import Message, Text
from massgen.planning import PlannedTask

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")
"""Of small teams; the agents of larger ones are numbered."""
START = 1_790_000_000.0
QUESTION = "What is the capital of Australia, and why is it not Sydney?"
ANSWER = "Canberra. It was founded in 1913 as a compromise between the rivals Sydney and Melbourne."


@dataclass(slots=True)
class Run:
    """A run being written; `at` is its clock."""

    names: tuple[str, ...] = NAMES[:3]
    at: float = START
    facts: list[Recorded] = field(default_factory=list[Recorded])
    turns: dict[str, int] = field(default_factory=dict[str, int])
    answers: dict[str, int] = field(default_factory=dict[str, int])
    asked: list[int] = field(default_factory=list[int])

    def add(self, fact: Fact, after: float = 0.0) -> int:
        self.at = round(self.at + after, 3)
        self.facts.append(Recorded(len(self.facts) + 1, self.at, fact))
        if isinstance(fact, Evaluated) and fact.verdict == "restart":
            self.answers = {}
        return len(self.facts)

    @property
    def roster(self) -> tuple[Member, ...]:
        return tuple(Member(name, "openai", f"model-{name[0]}") for name in self.names)

    def ask(self, question: str = QUESTION, *, after: float = 0.0) -> "Run":
        self.asked.append(self.add(Asked(question, self.roster), after))
        self.answers = {}
        return self

    def resume(self, *names: str, after: float = 3600.0) -> "Run":
        """Go on with the team, or with `names`."""
        self.names = names or self.names
        self.add(Resumed(self.roster), after)
        return self

    def interrupt(self, *names: str) -> "Run":
        for name in names:
            self.add(TurnFailed(name, self.turns[name], "interrupted", "the run was stopped"))
        self.add(Stopped("interrupted"))
        return self

    def summarise(self, name: str, content: str, until: int) -> "Run":
        """A summary of the conversation up to the question number `until`, from 1."""
        self.begin("summarise", [name]).call(name, content)
        self.add(Summarised(name, self.turns[name], self.asked[until - 1], content))
        return self

    @property
    def ballot(self) -> Ballot:
        return {f"agent{number}": (seq,) for number, seq in enumerate(self.answers.values(), 1)}

    def begin(self, purpose: Purpose, names: Iterable[str] | None = None) -> "Run":
        for name in self.names if names is None else names:
            ballot: Ballot = {} if purpose in ("solo", "answer", "summarise") else self.ballot
            self.turns[name] = self.add(TurnBegan(name, purpose, ballot))
        return self

    def call(self, name: str, text: str, *, seconds: float = 1.5, cost: float | None = 0.0021) -> "Run":
        turn = self.turns[name]
        self.add(Said(name, turn, Message("assistant", (Text(text),))), after=seconds)
        self.add(Spent(name, turn, f"model-{name[0]}", 812, 120, cost, seconds))
        return self

    def answer(self, name: str, content: str = ANSWER) -> "Run":
        self.call(name, content)
        self.answers[name] = self.add(Answered(name, self.turns[name], content))
        return self

    def vote(self, name: str, author: str, reason: str = "it names the compromise") -> "Run":
        self.call(name, "", seconds=0.4)
        self.add(Voted(name, self.turns[name], self.answers[author], reason))
        return self

    def use(self, name: str, tool: str, arguments: str = "{}", call: str = "c1") -> "Run":
        self.add(ToolCalled(name, self.turns[name], call, tool, arguments))
        return self

    def result(
        self, name: str, content: str, *, seconds: float = 0.5, is_error: bool = False, call: str = "c1"
    ) -> "Run":
        self.add(ToolReturned(name, self.turns[name], call, content, is_error, seconds), after=seconds)
        return self

    def plan(self, name: str, *tasks: PlannedTask, plan: str = "", deleted: tuple[str, ...] = ()) -> "Run":
        self.add(PlanChanged(name, self.turns[name], plan, tasks, deleted))
        return self

    def fail(self, name: str, cause: str) -> "Run":
        self.add(TurnFailed(name, self.turns[name], "error", cause), after=0.2)
        return self

    def retry(self, name: str, cause: str, delay: float) -> "Run":
        self.add(Retried(name, self.turns[name], cause, delay), after=0.1)
        return self

    def choose(self, author: str, tally: dict[str, int]) -> "Run":
        counted = {self.answers[name]: votes for name, votes in tally.items()}
        self.add(Chosen(self.answers[author], counted, "consensus" if tally else "single agent"))
        return self

    def present(self, name: str, content: str = ANSWER) -> "Run":
        self.call(name, content)
        self.add(Presented(name, self.turns[name], content))
        return self

    def stop(self) -> "Run":
        self.add(Stopped("answered"))
        return self


def names(count: int) -> tuple[str, ...]:
    return NAMES[:count] if count <= len(NAMES) else tuple(f"agent{number}" for number in range(1, count + 1))


def answering(count: int) -> Run:
    """A run whose agents have just begun."""
    return Run(names(count)).ask().begin("solo" if count == 1 else "answer")


def voting(count: int) -> Run:
    """A run whose agents have all answered, and some of whom have voted."""
    run = answering(count)
    for name in run.names:
        run.answer(name)
    run.add(VotingOpened("all answered"))
    run.begin("decide")
    for name in run.names[: (count + 1) // 2]:
        run.vote(name, run.names[0])
    return run


def presenting(count: int) -> Run:
    """A run whose winner presents."""
    if count == 1:
        return answering(1).answer("alice").choose("alice", {}).begin("present", ["alice"])
    run = voting(count)
    for name in run.names[(count + 1) // 2 :]:
        run.vote(name, run.names[0])
    first = run.names[0]
    return run.choose(first, {first: count}).begin("present", [first])


def whole(count: int) -> Run:
    """A run from the question to the final answer."""
    return presenting(count).present(names(count)[0]).stop()


def resumed() -> Run:
    """A run that was interrupted while two were at work: bob goes on, carol has left, dave joins."""
    run = (
        answering(3).answer("alice").interrupt("bob", "carol").resume("alice", "bob", "dave").begin("answer", ["dave"])
    )
    run.answer("bob", "Canberra.").answer("dave", "It is Canberra.")
    run.add(VotingOpened("all answered"))
    run.begin("decide")
    for name in run.names:
        run.vote(name, "bob")
    return run.choose("bob", {"bob": 3}).begin("present", ["bob"]).present("bob", "Canberra.").stop()


def conversed() -> Run:
    """Three questions to one agent; before the third, the first is summarised."""
    run = Run(("alice",))
    for question in ("What is the capital of Australia?", "And of New Zealand?", "How far apart are they?"):
        run.ask(question, after=60.0)
        if len(run.asked) > 2:
            run.summarise("alice", "Canberra is the capital of Australia.", 1)
        answer = f"The answer to question {len(run.asked)}."
        run.begin("solo").answer("alice", answer).choose("alice", {})
        run.add(Presented("alice", None, answer))
        run.stop()
    return run


def troubled() -> Run:
    """A run with a retry, a failure, and an answer revised after a vote, which that voids."""
    run = answering(3)
    run.retry("bob", "HTTP 429 from api.example.org: slow down", 4)
    run.answer("alice").fail("carol", "HTTP 401 from api.example.org: the key in CAROL_KEY was refused")
    run.answer("bob", "Canberra.")
    run.add(VotingOpened("all answered"))
    run.begin("decide", ["alice", "bob"]).vote("alice", "alice")
    run.answer("bob", "Canberra, chosen in 1908 and founded in 1913.").begin("decide", ["alice", "bob"])
    run.vote("alice", "bob", "dates both steps").vote("bob", "bob", "")
    return run.choose("bob", {"bob": 2}).begin("present", ["bob"]).present("bob").stop()
