"""An agent for small models: no tool calls, compact prompts, and a vote by likelihood.

Measured on models of 0.1 to 1.5 billion parameters: none made valid tool calls, long instructions made answers worse, and
those under 1.5 billion voted by chance when asked to, but well when asked which answer they find likely.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Literal

from massgen import prompts
from massgen.acts import Act, Final, NewAnswer, Verdict, Vote
from massgen.agents import Task, Turn, briefing
from massgen.agents.calls import Retry, call
from massgen.autonomy import asks_the_user
from massgen.backends import Backend, Request, Scorer
from massgen.errors import BackendError, ProtocolError
from massgen.events import Reprompted, Retried, Spent
from massgen.messages import Message, assistant, system, user
from massgen.state import Exchange

PROMPT_BYTES = 10_000
"""What surely fits a context of 4,096 tokens beside the reply: a token is seldom under 3 bytes of text."""
REPEATABLE_BYTES = 1_200
"""A longer answer would not fit the 400 tokens of a reply, and is presented as it stands."""
TRIES = 2
REVISIONS = 2
"""How often a vote is made anew because the answers changed meanwhile."""

_EMPTY = ("the reply was empty", prompts.COMPACT_AGAIN)
_ASKS = ("the reply turns to the user, who cannot reply", prompts.COMPACT_NO_QUESTIONS)


@dataclass(frozen=True, slots=True)
class SmallAgent:
    """A small model. `votes`: by `likelihood` where the backend is a `Scorer`, or by `json`, the reason before the choice."""

    id: str
    backend: Backend
    system_message: str = ""
    votes: Literal["likelihood", "json"] = "likelihood"
    retry: Retry = field(default_factory=Retry)

    async def turn(self, turn: Turn) -> Act:
        match turn.purpose:
            case "solo":
                return Final(await self._say(turn, _question(turn)))
            case "answer":
                return NewAnswer(await self._say(turn, _question(turn)))
            case "decide":
                return await self._vote(turn)
            case "present":
                return await self._present(turn)
            case "evaluate":
                return Verdict("submit")
            case "summarise":
                told = _cut(briefing.conversation(turn.task), PROMPT_BYTES)
                return Final(await self._say(turn, prompts.COMPACT_SUMMARISE.format(conversation=told)))

    async def aclose(self) -> None:
        await self.backend.aclose()

    async def _say(self, turn: Turn, content: str) -> str:
        """The model's text. One that is empty, or turns to the user, is asked for once more."""
        told = turn.purpose not in ("summarise", "present")
        before = [self._system(turn.task.summary), *_before(turn.task)] if told else [self._system()]
        messages, text = [*before, user(content)], ""
        for attempt in range(TRIES):
            reply = await call(self.backend, Request(tuple(messages)), turn, self.retry)
            text = reply.message.text.strip() or text
            if text and (attempt or turn.purpose == "summarise" or not asks_the_user(text)):
                return text
            why, again = _ASKS if text else _EMPTY
            turn.record(Reprompted(self.id, turn.seq, why))
            messages[-1:] = [user(f"{content}\n\n{again}")]
        raise ProtocolError(f"{self.backend.model} said nothing in {TRIES} tries")

    def _system(self, summary: str = "") -> Message:
        earlier = prompts.SUMMARY.format(summary=_cut(summary, PROMPT_BYTES // 6)) if summary else ""
        return system("\n\n".join(filter(None, [prompts.COMPACT_SYSTEM, self.system_message, earlier])))

    async def _present(self, turn: Turn) -> Final:
        """Say the winning answer again. What came out is given only if the model finds it likelier than what won: of 14
        answers of a 0.5B model 13 were right before, 9 to 12 (by wording) after, and 13 with this check."""
        best = next(iter(turn.answers.values()))
        if _bytes(best) > REPEATABLE_BYTES:
            return Final(best)
        question = _cut(turn.task.question, PROMPT_BYTES // 2)
        text = await self._say(turn, prompts.COMPACT_PRESENT.format(question=question, answer=best))
        if text == best or ("```" in best and "```" not in text):
            return Final(best)
        if not isinstance(self.backend, Scorer):
            return Final(text)
        before, after = await self._scores(self.backend, turn, (best, text))
        return Final(text if after > before else best)

    async def _vote(self, turn: Turn) -> Vote:
        vote = await self._choose(turn, turn.answers)
        for _ in range(REVISIONS):
            if not (shown := turn.news()):
                break
            vote = await self._choose(turn, shown)
        return vote

    async def _choose(self, turn: Turn, answers: Mapping[str, str]) -> Vote:
        if self.votes == "json" or not isinstance(self.backend, Scorer):
            return await self._argue(turn, answers)
        if len(answers) == 1:
            return Vote(next(iter(answers)), "the only answer")
        scores = dict(zip(answers, await self._scores(self.backend, turn, [*answers.values()]), strict=True))
        best = max(scores, key=scores.__getitem__)
        return Vote(best, f"likeliest of {len(scores)} by mean log-probability ({scores[best]:.2f})")

    async def _scores(self, scorer: Scorer, turn: Turn, candidates: Sequence[str]) -> Sequence[float]:
        began, question = monotonic(), _in_context(turn.task)
        try:
            scores = await scorer.score(question, candidates)
        except BackendError as error:
            if not error.transient:
                raise
            turn.record(Retried(self.id, turn.seq, str(error), 0.0))
            scores = await scorer.score(question, candidates)
        seconds = round(monotonic() - began, 3)
        turn.record(Spent(self.id, turn.seq, self.backend.model, 0, 0, 0.0, seconds))  # it generates nothing
        return scores

    async def _argue(self, turn: Turn, answers: Mapping[str, str]) -> Vote:
        room = PROMPT_BYTES // 2 // len(answers)
        shown = "\n\n".join(f"{label}:\n{_cut(text, room)}" for label, text in answers.items())
        content = prompts.COMPACT_VOTE.format(question=_in_context(turn.task), answers=shown)
        request = Request((self._system(), user(content)), schema=_ballot_schema([*answers]))
        why = ""
        for _ in range(TRIES):
            reply = await call(self.backend, request, turn, self.retry)
            try:
                return _read_vote(reply.message.text, answers)
            except ValueError as error:
                why = str(error)
            turn.record(Reprompted(self.id, turn.seq, why))
        raise ProtocolError(f"{self.backend.model} came to no vote in {TRIES} tries; the last: {why}")


def _before(task: Task) -> Iterator[Message]:
    """The last exchanges of the conversation, so far as a third of a prompt goes."""
    room, told = PROMPT_BYTES // 3, list[Exchange]()
    for each in reversed(task.history):
        room -= _bytes(each.question) + _bytes(each.answer)
        if room < 0 and told:
            break
        told.insert(0, each)
    for each in told:
        yield user(_cut(each.question, PROMPT_BYTES // 6))
        yield assistant(_cut(each.answer or prompts.UNANSWERED, PROMPT_BYTES // 6))


def _in_context(task: Task) -> str:
    """The question as a text that can be understood without what was said before."""
    question = _cut(task.question, PROMPT_BYTES // 2)
    if not (task.history or task.summary):
        return question
    return f"{_cut(briefing.conversation(replace(task, history=task.history[-1:])), PROMPT_BYTES // 3)}\n\n{question}"


def _question(turn: Turn) -> str:
    task = turn.task
    parts = [task.question, *([prompts.COMPACT_MEDIA] if task.media else [])]
    if task.feedback:
        answer = _cut(task.previous_answer, PROMPT_BYTES // 3)
        parts.append(prompts.COMPACT_FEEDBACK.format(answer=answer, feedback=_cut(task.feedback, PROMPT_BYTES // 6)))
    return "\n\n".join(parts)


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


def _cut(text: str, limit: int) -> str:
    """`text`, or what of it fits into `limit` bytes with a note that more was there."""
    if _bytes(text) <= limit:
        return text
    return (
        text.encode(errors="replace")[: max(0, limit - len(prompts.COMPACT_CUT))].decode(errors="ignore")
        + prompts.COMPACT_CUT
    )


def _ballot_schema(labels: Sequence[str]) -> dict[str, Any]:
    reason, label = {"type": "string", "maxLength": 200}, {"type": "string", "enum": [*labels]}
    return {
        "type": "object",
        "properties": {"reason": reason, "agent_id": label},
        "required": ["reason", "agent_id"],
        "additionalProperties": False,
    }


def _read_vote(text: str, answers: Mapping[str, str]) -> Vote:
    match json.loads(text):
        case {"agent_id": str(label), "reason": str(reason)} if label in answers:
            return Vote(label, reason)
        case other:
            raise ValueError(f"not a vote for one of {', '.join(answers)}: {str(other)[:100]}")
