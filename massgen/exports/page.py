"""A session as a page of HTML: one file that loads nothing, runs nothing, and takes no model's text for markup."""

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

from massgen.exports.parts import Answer, Event, Final, Summary, Vote
from massgen.exports.transcript import MAX_HEADING, MAX_NOTE, Turn
from massgen.figures import Use, duration, money
from massgen.plan_words import Place, tree
from massgen.planning import LEVELS, Plan
from massgen.streams import line, safe

_PAGE = Path(__file__).with_name("page.html")


class Markup(str):
    """Text that is HTML already; any other is escaped where it is put in."""

    __slots__ = ()


def _tag(name: str, *children: str, **attributes: str) -> Markup:
    """An element; `class_` is the attribute `class`, an attribute without text is left out."""
    inner = "".join(each if isinstance(each, Markup) else html.escape(safe(each)) for each in children)
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value}
    shown = "".join(f' {key}="{html.escape(safe(value))}"' for key, value in given.items())
    return Markup(f"<{name}{shown}>{inner}</{name}>")


def written(found: Sequence[Turn]) -> str:
    """The turns of a session. Its style is allowed by its digest, everything else is forbidden."""
    template = _PAGE.read_text("utf-8")
    style = template.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    title = html.escape(line(found[0].asked.question, MAX_HEADING))
    return Template(template).substitute(title=title, digest=digest, body="\n".join(_body(found))).rstrip()


def _body(found: Sequence[Turn]) -> Iterable[Markup]:
    """The questions, after a list of them where they are several."""
    if found[1:]:
        links = (_tag("a", line(turn.asked.question, MAX_HEADING), href=f"#q{turn.number}") for turn in found)
        yield _tag("nav", _tag("ol", *(_tag("li", link, dir="auto") for link in links)), aria_label="Questions")
    yield from map(_section, found)


def _section(turn: Turn) -> Markup:
    question = turn.asked.question
    parts = [
        _tag("h1", line(question, MAX_HEADING), dir="auto"),
        *([_text(question)] if "\n" in question.strip() or len(question) > MAX_HEADING else []),
        _tag("ul", *(_tag("li", each) for each in turn.facts), class_="facts"),
        *(_final(final) for final in turn.finals),
        *map(_summary, turn.summaries),
        _tag("h2", "The answers"),
        _tag("div", *(_column(turn, member.id) for member in turn.members.values()), class_="team"),
        *([_tag("h2", "The votes"), _tag("ul", *map(_vote_item, turn.votes), class_="votes")] if turn.votes else []),
        *(part for name, plan in turn.plans.items() for part in _plan(name, plan)),
        _tag("h2", "What happened when"),
        _lanes(turn),
        _history(turn),
        _tag("h2", "What it took"),
        _spending(turn),
    ]
    return _tag("section", *parts, id=f"q{turn.number}")


def _text(text: str) -> Markup:
    """As the model wrote it; code, with its fences, in letters of one width."""
    blocks: list[list[str]] = [[]]  # prose, code, prose, ...
    for each in safe(text).split("\n"):
        fence, code = each.lstrip().startswith(("```", "~~~")), len(blocks) % 2 == 0
        if fence and not code:
            blocks.append([])
        blocks[-1].append(each)
        if fence and code:
            blocks.append([])
    shown = ["\n".join(block) for block in blocks]
    parts = [_tag("code", each) if place % 2 else each for place, each in enumerate(shown)]
    return _tag("div", *parts, class_="text", dir="auto")


def _final(final: Final) -> Markup:
    title = "The final answer" if final.sent_back is None else "A final answer that was sent back"
    return _tag("article", _tag("h2", title), _tag("p", final.by, class_="about"), _text(final.text), class_="final")


def _summary(summary: Summary) -> Markup:
    title = _tag("summary", "The conversation before, in short")
    return _tag("details", title, _tag("p", summary.by, class_="about"), _text(summary.text))


def _column(turn: Turn, agent: str) -> Markup:
    """An agent's answers, the last one first; those before it can be unfolded."""
    member = turn.members[agent]
    left = turn.view.state.seats[agent].left
    *earlier, last = [_answer(turn, answer) for answer in turn.given(agent)] or [_tag("p", "It gave no answer.")]
    count = f"{len(earlier)} earlier answer{'s' * (len(earlier) != 1)}"
    head = [_tag("h3", agent, dir="auto"), _tag("p", f"{member.backend} {member.model}", class_="about")]
    gone = [_tag("p", f"It left the team: {left}", class_="left")] if left else []
    before = [_tag("details", _tag("summary", count), *reversed(earlier))] if earlier else []
    return _tag("article", *head, *gone, last, *before)


def _answer(turn: Turn, answer: Answer) -> Markup:
    chosen = turn.view.state.chosen
    won = [_tag("strong", "Chosen", class_="chosen")] if chosen and chosen.answer == answer.id else []
    return _tag("div", *won, _tag("p", turn.about(answer), class_="about"), _text(answer.text), id=f"a{answer.id}")


def _vote_item(vote: Vote) -> Markup:
    name = f"{vote.answer.author}, answer {vote.answer.revision}"
    link = _tag("a", name, href=f"#a{vote.answer.id}")
    why = [_text(vote.reason)] if vote.reason.strip() else []
    return _tag("li", _tag("bdi", vote.voter), " for ", link, vote.void, *why, class_="" if vote.counted else "void")


def _plan(name: str, plan: Plan) -> Iterable[Markup]:
    """Its tasks, parts below what they are parts of."""
    yield _tag("h2", "The plan", *([" of ", _tag("bdi", name)] if name else []))
    yield _tag("ul", *map(_task, tree(plan)), class_="plan") if plan.tasks else _tag("p", "It has no tasks.")


def _task(place: Place) -> Markup:
    task = place.task
    text = _tag("bdi", line(f"{task.id}: {task.description}", MAX_NOTE))
    state = _tag("span", line(place.state, MAX_NOTE), class_="about")
    notes = [_text(place.notes)] if place.notes else []
    return _tag("li", text, " ", state, *notes, class_=f"level{min(place.level, LEVELS)} {task.status}")


def _lanes(turn: Turn) -> Markup:
    """A bar for every turn of every agent; the history says the same in words."""
    rows = [
        _tag("div", _tag("bdi", member.id), _lane(turn, member.id), class_="lane") for member in turn.members.values()
    ]
    acts = dict.fromkeys(span.act for span in turn.spans)
    key = [_tag("span", act, class_=f"key act-{act}") for act in acts]
    return _tag("div", *rows, _tag("p", *key), class_="lanes", aria_hidden="true")


def _lane(turn: Turn, agent: str) -> Markup:
    scale = 1000 / (turn.seconds or 1)
    bars = [
        _tag(
            "rect",
            x=f"{span.began * scale:.1f}",
            width=f"{max(3, (span.ended - span.began) * scale):.1f}",
            class_=f"act-{span.act}",
        )
        for span in turn.spans
        if span.agent == agent
    ]
    return _tag("svg", *bars, viewBox="0 0 1000 10", preserveAspectRatio="none")


def _history(turn: Turn) -> Markup:
    events, more = turn.told
    items = [_tag("li", _tag("time", duration(each.at)), *_event(each)) for each in events]
    return _tag(
        "details",
        _tag("summary", f"{len(turn.events):,} events"),
        _tag("ol", *items),
        *([_tag("p", more)] if more else []),
    )


def _event(event: Event) -> Iterable[str]:
    yield from [_tag("bdi", event.agent), " "] if event.agent else []
    yield event.what
    yield from [": ", _tag("bdi", line(event.why, MAX_NOTE))] if event.why.strip() else []


def _spending(turn: Turn) -> Markup:
    """A row for each agent."""
    names = ("Agent", "Calls", "Tokens in", "Tokens out", "Cost")
    head = _tag("thead", _tag("tr", *(_tag("th", each, scope="col") for each in names)))
    rows = [_row(member.id, turn.view.lanes[member.id].use) for member in turn.members.values()]
    table = _tag("table", head, _tag("tbody", *rows))
    return _tag("div", table, class_="wide", tabindex="0", role="group", aria_label="What it took")


def _row(agent: str, use: Use) -> Markup:
    numbers = (
        f"{use.calls}",
        f"{use.input_tokens:,}",
        f"{use.output_tokens:,}",
        money(use) or "unknown" * bool(use.calls),
    )
    return _tag("tr", _tag("th", agent, scope="row"), *(_tag("td", each) for each in numbers))
