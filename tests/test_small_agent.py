"""The agent for small models, on scripted replies and scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from massgen.acts import Act, Final, NewAnswer, Verdict, Vote
from massgen.agents import Task, Turn
from massgen.agents.calls import Retry
from massgen.agents.small import PROMPT_BYTES, SmallAgent
from massgen.errors import BackendError, ProtocolError
from massgen.events import Fact, Purpose, Reprompted, Retried, Said, Spent
from massgen.messages import Chunk, Media, TextDelta
from massgen.prompts import UNANSWERED
from massgen.state import Exchange
from massgen.testing import ScriptedBackend, says

QUESTION = "What is the capital of France?"
BALLOT = {"agent1": "Rome", "agent2": "Paris", "agent3": "Berlin"}


@dataclass(slots=True)
class Judge(ScriptedBackend):
    """Finds likely what `likes` says, by the text."""

    likes: Mapping[str, float] = field(default_factory=dict[str, float])
    troubles: list[BackendError] = field(default_factory=list[BackendError])
    scored: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    asked: str = ""

    async def score(self, question: str, candidates: Sequence[str]) -> list[float]:
        if self.troubles:
            raise self.troubles.pop(0)
        assert question.endswith(QUESTION)
        self.asked = question
        self.scored.append(tuple(candidates))
        return [self.likes.get(text, -9.0) for text in candidates]


@dataclass
class Stage:
    """Takes one turn, and keeps what was recorded and shown."""

    facts: list[Fact] = field(default_factory=list[Fact])
    shown: list[Chunk] = field(default_factory=list[Chunk])
    news: list[Mapping[str, str]] = field(default_factory=list[Mapping[str, str]])

    async def play(
        self, agent: SmallAgent, purpose: Purpose, answers: Mapping[str, str] | None = None, **task: Any
    ) -> Act:
        turn = Turn(
            seq=7,
            agent=agent.id,
            purpose=purpose,
            task=Task(**{"question": QUESTION, **task}),
            answers=answers or {},
            may_answer=True,
            record=lambda *facts: self.facts.extend(facts),
            show=self.shown.append,
            news=lambda: self.news.pop(0) if self.news else None,
            refusal=lambda _: None,
        )
        act = await agent.turn(turn)
        await agent.aclose()
        return act


@pytest.fixture
def stage() -> Stage:
    return Stage()


def prompts(backend: ScriptedBackend) -> list[list[str]]:
    return [[message.text for message in request.messages] for request in backend.requests]


@pytest.mark.parametrize(("purpose", "act"), [("answer", NewAnswer("Paris.")), ("solo", Final("Paris."))])
async def test_a_question_is_put_plainly_and_the_text_is_the_answer(stage: Stage, purpose: Purpose, act: Act) -> None:
    backend = ScriptedBackend([says(" Paris.\n")])
    assert await stage.play(SmallAgent("a", backend), purpose) == act
    assert prompts(backend) == [["You are a helpful assistant. Answer correctly and briefly.", QUESTION]]
    assert backend.requests[0].tools == ()
    assert backend.requests[0].schema is None
    assert [type(fact) for fact in stage.facts] == [Said, Spent]
    assert stage.shown[0] == TextDelta(" Paris.\n")


async def test_its_own_instructions_feedback_and_attachments_are_in_the_prompt(stage: Stage) -> None:
    backend = ScriptedBackend([says("Paris")])
    agent = SmallAgent("a", backend, system_message="Be polite.")
    media = (Media("image", "image/png", data="AA=="),)
    await stage.play(agent, "answer", media=media, previous_answer="Rome", feedback="That is in Italy.")
    [[instructions, question]] = prompts(backend)
    assert instructions.endswith("briefly.\n\nBe polite.")
    assert question == (
        f"{QUESTION}\n\n(A file was attached that you cannot read.)\n\n"
        "An earlier answer was:\nRome\n\nIt must be better: That is in Italy."
    )


async def test_an_empty_reply_is_asked_for_once_more(stage: Stage) -> None:
    backend = ScriptedBackend([says("\n"), says("Paris")])
    assert await stage.play(SmallAgent("a", backend), "answer") == NewAnswer("Paris")
    assert prompts(backend)[1][1] == f"{QUESTION}\n\nWrite your answer now."
    assert Reprompted("a", 7, "the reply was empty") in stage.facts


@pytest.mark.parametrize(
    ("second", "given"),
    [("Paris.", "Paris."), ("", "Which one do you mean?"), ("Do you want more?", "Do you want more?")],
)
async def test_a_reply_that_turns_to_the_user_is_asked_for_once_more(stage: Stage, second: str, given: str) -> None:
    backend = ScriptedBackend([says("Which one do you mean?"), says(second)])
    assert await stage.play(SmallAgent("a", backend), "solo") == Final(given)
    assert prompts(backend)[1][1] == f"{QUESTION}\n\nGive the answer itself. Ask nothing."
    assert Reprompted("a", 7, "the reply turns to the user, who cannot reply") in stage.facts


async def test_two_empty_replies_are_a_failure(stage: Stage) -> None:
    with pytest.raises(ProtocolError, match="scripted said nothing in 2 tries"):
        await stage.play(SmallAgent("a", ScriptedBackend([says(""), says(" ")])), "answer")


async def test_the_likeliest_answer_gets_the_vote(stage: Stage) -> None:
    judge = Judge([], likes={"Paris": -0.414, "Rome": -3.0})
    vote = await stage.play(SmallAgent("a", judge), "decide", BALLOT)
    assert vote == Vote("agent2", "likeliest of 3 by mean log-probability (-0.41)")
    [spent] = stage.facts
    assert isinstance(spent, Spent)
    assert (spent.model, spent.input_tokens, spent.output_tokens, spent.cost) == ("scripted", 0, 0, 0.0)
    assert spent.seconds >= 0


async def test_a_single_answer_needs_no_scoring(stage: Stage) -> None:
    assert await stage.play(SmallAgent("a", Judge([])), "decide", {"agent1": "x"}) == Vote("agent1", "the only answer")
    assert stage.facts == []


async def test_answers_that_change_meanwhile_are_scored_again(stage: Stage) -> None:
    judge = Judge([], likes={"Paris": -1.0, "Paris, on the Seine": -0.5})
    stage.news = [{**BALLOT, "agent4": "Paris, on the Seine"}]
    vote = await stage.play(SmallAgent("a", judge), "decide", BALLOT)
    assert vote == Vote("agent4", "likeliest of 4 by mean log-probability (-0.50)")


async def test_news_without_end_are_not_awaited(stage: Stage) -> None:
    stage.news = [BALLOT] * 9
    judge = Judge([])
    await stage.play(SmallAgent("a", judge), "decide", BALLOT)
    assert len(judge.scored) == 3


async def test_scoring_is_tried_again_after_a_passing_error(stage: Stage) -> None:
    judge = Judge([], likes={"Paris": -1.0}, troubles=[BackendError("it died", transient=True)])
    vote = await stage.play(SmallAgent("a", judge), "decide", BALLOT)
    assert vote == Vote("agent2", "likeliest of 3 by mean log-probability (-1.00)")
    assert Retried("a", 7, "it died", 0.0) in stage.facts


@pytest.mark.parametrize("errors", [[False], [True, True]])
async def test_scoring_that_cannot_succeed_is_an_error(stage: Stage, errors: list[bool]) -> None:
    judge = Judge([], troubles=[BackendError("it died", transient=transient) for transient in errors])
    with pytest.raises(BackendError, match="it died"):
        await stage.play(SmallAgent("a", judge), "decide", BALLOT)


@pytest.mark.parametrize("votes", ["json", "likelihood"])
async def test_a_larger_model_or_one_that_cannot_score_argues_before_it_votes(stage: Stage, votes: Any) -> None:
    reply = json.dumps({"reason": "It is in France.", "agent_id": "agent2"})
    backend = Judge([says(reply)]) if votes == "json" else ScriptedBackend([says(reply)])
    vote = await stage.play(SmallAgent("a", backend, votes=votes), "decide", BALLOT)
    assert vote == Vote("agent2", "It is in France.")
    schema = backend.requests[0].schema
    assert schema
    assert [*schema["properties"]] == ["reason", "agent_id"]
    assert schema["properties"]["agent_id"]["enum"] == ["agent1", "agent2", "agent3"]
    assert "agent2:\nParis\n\nagent3:\nBerlin" in prompts(backend)[0][1]


async def test_a_vote_that_cannot_be_read_is_asked_for_once_more(stage: Stage) -> None:
    backend = ScriptedBackend([says('{"reason": "cut o'), says('{"reason": "", "agent_id": "agent1"}')])
    assert await stage.play(SmallAgent("a", backend, votes="json"), "decide", BALLOT) == Vote("agent1", "")
    backend = ScriptedBackend([says("[]"), says('{"reason": "", "agent_id": "agent9"}')])
    with pytest.raises(
        ProtocolError, match=r"no vote in 2 tries.*one of agent1, agent2, agent3: \{'reason': '', 'agent"
    ):
        await stage.play(SmallAgent("a", backend, votes="json"), "decide", BALLOT)


@pytest.mark.parametrize(("likes", "final"), [(-0.5, "Paris, in France."), (-2.0, "Paris")])
async def test_the_presented_answer_is_never_less_likely_than_the_one_that_won(
    stage: Stage, likes: float, final: str
) -> None:
    judge = Judge([says("Paris, in France.")], likes={"Paris": -1.0, "Paris, in France.": likes})
    answers = {"agent1": "Paris", "agent2": "Rome"}
    assert await stage.play(SmallAgent("a", judge), "present", answers) == Final(final)
    assert prompts(judge)[0][1] == f"Question: {QUESTION}\n\nCorrect answer:\nParis\n\nRepeat the correct answer."


async def test_code_that_the_presentation_lost_is_kept(stage: Stage) -> None:
    best = "```python\nx * x\n```"
    judge = Judge([says("It is the square.")], likes={"It is the square.": -0.1})
    assert await stage.play(SmallAgent("a", judge), "present", {"agent1": best}) == Final(best)
    assert judge.scored == []


async def test_a_presentation_that_nobody_can_score_is_taken_as_it_is(stage: Stage) -> None:
    backend = ScriptedBackend([says("Paris, in France.")])
    assert await stage.play(SmallAgent("a", backend), "present", {"agent1": "Paris"}) == Final("Paris, in France.")


async def test_what_does_not_fit_the_context_is_cut_with_a_note(stage: Stage) -> None:
    note = "[... cut here: too long for this model]"
    backend = ScriptedBackend([says("x")])
    await stage.play(SmallAgent("a", backend), "present", {"agent1": "x"}, question="why " * 5000)
    prompt = prompts(backend)[0][1]
    assert len(prompt.encode()) < 5_500
    assert f"{note}\n\nCorrect answer:\nx\n" in prompt

    answers = {"agent1": "ä" * 9000, "agent2": "long " * 2000, "agent3": "short"}
    backend = ScriptedBackend([says('{"reason": "", "agent_id": "agent1"}')])
    await stage.play(SmallAgent("a", backend, votes="json"), "decide", answers)
    prompt = prompts(backend)[0][1]
    assert len(prompt.encode()) < 5_500
    assert prompt.count(note) == 2
    assert prompt.endswith("agent3:\nshort\n\nCompare the answers. Say which is best and why.")


async def test_an_answer_too_long_to_repeat_is_presented_as_it_stands(stage: Stage) -> None:
    long = "word " * 300
    assert await stage.play(SmallAgent("a", ScriptedBackend([])), "present", {"agent1": long}) == Final(long)
    assert stage.facts == []


async def test_it_does_not_judge_the_final_answer(stage: Stage) -> None:
    assert await stage.play(SmallAgent("a", ScriptedBackend([])), "evaluate") == Verdict("submit")


async def test_a_passing_error_is_retried(stage: Stage) -> None:
    async def no_wait(seconds: float) -> None:
        pass

    backend = ScriptedBackend([BackendError("busy", transient=True), says("Paris")])
    agent = SmallAgent("a", backend, retry=Retry(sleep=no_wait))
    assert await stage.play(agent, "answer") == NewAnswer("Paris")


# --- a conversation ------------------------------------------------------------------------------------------------

TALK = (Exchange(1, "Where is Paris?", answer="In France.", author="a"), Exchange(9, "And Bonn?"))


async def test_what_was_said_before_goes_with_the_question(stage: Stage) -> None:
    backend = ScriptedBackend([says("Rome")])
    await stage.play(SmallAgent("a", backend), "answer", history=TALK)
    [[_, *told]] = prompts(backend)
    assert told == ["Where is Paris?", "In France.", "And Bonn?", UNANSWERED, QUESTION]


async def test_what_was_summarised_is_told_too(stage: Stage) -> None:
    backend = ScriptedBackend([says("Rome")])
    await stage.play(SmallAgent("a", backend, system_message="Be polite."), "answer", summary="Bonn came up.")
    [[instructions, question]] = prompts(backend)
    assert instructions.endswith("\n\nBe polite.\n\n<earlier_conversation>\nBonn came up.\n</earlier_conversation>")
    assert question == QUESTION


async def test_of_a_long_conversation_the_last_exchanges_go_with_the_question(stage: Stage) -> None:
    backend = ScriptedBackend([says("Rome")])
    long = Exchange(2, "x" * PROMPT_BYTES, answer="y")
    await stage.play(SmallAgent("a", backend), "answer", history=(long, *TALK))
    assert len(prompts(backend)[0]) == 6
    await stage.play(SmallAgent("a", backend := ScriptedBackend([says("Rome")])), "answer", history=(*TALK, long))
    [[_, question, answer, _]] = prompts(backend)
    assert len(question) <= PROMPT_BYTES // 6
    assert answer == "y"


async def test_answers_are_scored_as_replies_in_the_conversation(stage: Stage) -> None:
    judge = Judge([], likes={"Paris": -0.4, "Rome": -3.0})
    await stage.play(SmallAgent("a", judge), "decide", BALLOT, history=TALK[:1])
    assert judge.asked == f"<user>\nWhere is Paris?\n</user>\n<answer>\nIn France.\n</answer>\n\n{QUESTION}"


async def test_it_summarises_in_few_words(stage: Stage) -> None:
    backend = ScriptedBackend([says("Paris is in France. Where is Bonn?")])
    act = await stage.play(SmallAgent("a", backend), "summarise", history=TALK, room=1000, question="")
    assert act == Final("Paris is in France. Where is Bonn?")
    [[_, told]] = prompts(backend)
    assert told.startswith("<user>\nWhere is Paris?")
    assert told.endswith("Summarise this conversation in a few sentences. Keep names and numbers.")
