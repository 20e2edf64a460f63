"""The only prose that models read, and how a turn becomes the messages of a first model call.

Wording is short on purpose: a plain two-agent chat costs under 2,000 characters of system prompts.
"""

from collections.abc import Mapping

from massgen.agents import Turn
from massgen.backends import Tool
from massgen.messages import Message, system, user

FINAL = (
    "The user gets this text alone and cannot reply. Complete the task; where something is unclear, choose the likeliest "
    "reading and state the assumption. Ask nothing, offer nothing further, and do not mention agents, votes or drafts."
)
SOLO = f"Do the user's task. {FINAL}"
ANSWER = (
    "Several agents do the user's task, each on its own. Do all of it as well as you can. Nobody can reply to you, so state "
    "assumptions instead of asking. End by calling new_answer with the complete answer."
)
DECIDE = (
    "Several agents do the user's task. You see their current answers under neutral labels; one may be yours. Check each "
    "against the task. {standard} To answer anew, digest what is right in them, combine it with your own work into one "
    "complete answer and call new_answer; nobody can reply to it. Otherwise call vote. End with exactly one of these calls."
)
VOTE_ONLY = (
    "Several agents did the user's task. You see their current answers under neutral labels; one may be yours. Check each "
    "against the task and call vote for the best one."
)
STANDARDS = {
    "lenient": "If one of them does the task, vote for the best.",
    "balanced": "If the best one is correct and complete, vote for it; if you can correct or clearly improve it, do.",
    "strict": "Vote only for an answer in which you find nothing wrong, missing or unclear; else write a better one.",
}
PRESENT = (
    "Your answer won the team's vote. Write the final answer to the user's task: keep what won, take over what other answers "
    f"do better, correct what is wrong. {FINAL}"
)
EVALUATE = (
    "Check the final answer against the user's task, as its strictest reader. Call submit if it does the task. Call "
    "restart_orchestration, with what is wrong and instructions to do better, only if the team must work on it again."
)

TASK = "<task>\n{question}\n</task>"
FEEDBACK = "<previous_attempt>\n{answer}\n</previous_attempt>\n<feedback>\n{feedback}\n</feedback>"
NEWS = "The answers have changed while you worked. These are all current ones:"
NO_CALL = "That ended in no call, so it counts for nothing. End with exactly one call: {calls}."
TOO_MANY_CALLS = "That made {count} calls; none was accepted. End with exactly one: {calls}."
UNKNOWN_CALL = "There is no tool {name!r}. Call {calls}."
BAD_ARGUMENTS = "The call of {name} was not accepted: {problem}. Make it again."
TURNS_TO_THE_USER = (
    "The user cannot reply. Write the final answer again, complete, without the question or offer at its end."
)


def opening(turn: Turn, own: str, sensitivity: str) -> list[Message]:
    """The first messages of `turn`; `own` are the agent's own instructions, `sensitivity` is `voting_sensitivity`."""
    instructions = _instructions(turn, sensitivity)
    content = "\n".join([*_task(turn), *_shown(turn)])
    return [system(f"{own}\n\n{instructions}" if own else instructions), user(content, turn.task.media)]


def _instructions(turn: Turn, sensitivity: str) -> str:
    match turn.purpose:
        case "solo":
            return SOLO
        case "answer":
            return ANSWER
        case "decide":
            return DECIDE.format(standard=STANDARDS[sensitivity]) if turn.may_answer else VOTE_ONLY
        case "present":
            return PRESENT
        case "evaluate":
            return EVALUATE


def _task(turn: Turn) -> list[str]:
    task = turn.task
    if turn.purpose == "solo" and not task.feedback:
        return [task.question]
    again = [FEEDBACK.format(answer=task.previous_answer, feedback=task.feedback)] if task.feedback else []
    return [TASK.format(question=task.question), *again]


def _shown(turn: Turn) -> list[str]:
    if turn.draft:
        return [f"<final_answer>\n{turn.draft}\n</final_answer>"]
    return [answers(turn.answers, turn.votes)] if turn.answers else []


def answers(shown: Mapping[str, str], votes: Mapping[str, tuple[str, ...]] | None = None) -> str:
    """The answers as a model sees them, each with the reasons of its voters where `votes` has them."""
    blocks = [f"<{label}>\n{content}\n</{label}>{_reasons(label, votes)}" for label, content in shown.items()]
    return "\n".join(["<answers>", *blocks, "</answers>"])


def _reasons(label: str, votes: Mapping[str, tuple[str, ...]] | None) -> str:
    reasons = [reason for reason in (votes or {}).get(label, ()) if reason]
    return "".join(f"\n- vote for {label}: {reason}" for reason in reasons)


def news(shown: Mapping[str, str]) -> Message:
    """Tells an agent in the middle of its turn that the answers have changed."""
    return user(f"{NEWS}\n{answers(shown)}")


def tools(turn: Turn, labels: list[str]) -> list[Tool]:
    """The acts open to the agent in `turn`, as tools; `labels` are those it may vote for."""
    match turn.purpose:
        case "answer":
            return [_NEW_ANSWER]
        case "decide":
            vote = _vote(labels)
            return [_NEW_ANSWER, vote] if turn.may_answer else [vote]
        case "evaluate":
            return [_SUBMIT, _RESTART]
        case "solo" | "present":
            return []


def _tool(name: str, description: str, **properties: object) -> Tool:
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    return Tool(name, description, schema)


def _vote(labels: list[str]) -> Tool:
    return _tool(
        "vote",
        "Vote for the best current answer.",
        reason={"type": "string", "description": "Why it is the best, in a sentence."},
        agent_id={"type": "string", "enum": labels},
    )


_NEW_ANSWER = _tool(
    "new_answer",
    "Give your complete answer to the task.",
    content={"type": "string", "description": "The answer itself, complete: nothing else is kept."},
)
_SUBMIT = _tool("submit", "The final answer does the task.")
_RESTART = _tool(
    "restart_orchestration",
    "The team must work on the task again.",
    reason={"type": "string", "description": "What is wrong with the final answer."},
    instructions={"type": "string", "description": "What the team is to do better."},
)
