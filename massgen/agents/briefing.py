"""How a turn becomes the messages and tools of a first model call."""

from collections.abc import Iterator, Mapping

from massgen import prompts
from massgen.agents import Task, Turn
from massgen.agents.shortening import shortened
from massgen.backends import Tool
from massgen.messages import Message, assistant, system, user

MAX_TEXT = 1_000_000
"""Characters of a question or an answer in a summary's prompt, where the models' windows are not known."""


def opening(turn: Turn, own: str, sensitivity: str, tools: str = "") -> list[Message]:
    """The first messages of `turn`; `own` are the agent's own instructions, `sensitivity` is `voting_sensitivity`, `tools` is
    what there is to say of its tools."""
    instructions = "\n\n".join(filter(None, [own, _instructions(turn, sensitivity), tools]))
    if turn.purpose == "summarise":
        return [system(instructions), user(conversation(turn.task))]
    content = "\n".join([*_task(turn), *_shown(turn)])
    return [system(instructions + _summary(turn.task)), *_history(turn.task), user(content, turn.task.media)]


def _summary(task: Task) -> str:
    summary = shortened(task.summary, task.room // 2 or MAX_TEXT)  # it may have been made for models that take more
    return f"\n\n{prompts.SUMMARY.format(summary=summary)}" if summary else ""


def _history(task: Task) -> Iterator[Message]:
    """The conversation as it went: models know what to make of that."""
    for each in task.history:
        yield user(each.question, each.media)
        yield assistant(each.answer or prompts.UNANSWERED)


def conversation(task: Task) -> str:
    """The conversation as one text: of long questions and answers the beginning and the end, if there is no room for more."""
    share = task.room // max(1, 2 * len(task.history)) or MAX_TEXT
    blocks = [
        prompts.EXCHANGE.format(
            question=shortened(each.question, share), answer=shortened(each.answer or prompts.UNANSWERED, share)
        )
        for each in task.history
    ]
    return "\n".join([_summary(task).strip(), *blocks]).strip()


def _instructions(turn: Turn, sensitivity: str) -> str:
    match turn.purpose:
        case "solo":
            return prompts.SOLO
        case "answer":
            return prompts.ANSWER
        case "decide":
            return (
                prompts.DECIDE.format(standard=prompts.STANDARDS[sensitivity]) if turn.may_answer else prompts.VOTE_ONLY
            )
        case "present":
            return prompts.PRESENT
        case "evaluate":
            return prompts.EVALUATE
        case "summarise":
            return prompts.SUMMARISE


def _task(turn: Turn) -> list[str]:
    task = turn.task
    if turn.purpose == "solo" and not task.feedback:
        return [task.question]
    again = [prompts.FEEDBACK.format(answer=task.previous_answer, feedback=task.feedback)] if task.feedback else []
    return [prompts.TASK.format(question=task.question), *again]


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
    return user(f"{prompts.NEWS}\n{answers(shown)}")


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
        case "solo" | "present" | "summarise":
            return []


def _tool(name: str, **properties: dict[str, object]) -> Tool:
    described = {
        each: {**schema, **({"description": text} if (text := prompts.TOOLS.get(f"{name}.{each}")) else {})}
        for each, schema in properties.items()
    }
    schema = {"type": "object", "properties": described, "required": [*properties], "additionalProperties": False}
    return Tool(name, prompts.TOOLS[name], schema)


_TEXT: dict[str, object] = {"type": "string"}
_NEW_ANSWER = _tool("new_answer", content=_TEXT)
_SUBMIT = _tool("submit")
_RESTART = _tool("restart_orchestration", reason=_TEXT, instructions=_TEXT)


def _vote(labels: list[str]) -> Tool:
    return _tool("vote", reason=_TEXT, agent_id={**_TEXT, "enum": labels})
