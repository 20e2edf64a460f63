"""The case studies are what they say: each recorded session follows the rules, is reproduced from its own log and by its own
script, and what the team made is right by figures that are computed here, from the data alone."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from massgen.config.loading import load
from massgen.events import (
    Asked,
    Fact,
    Informed,
    PlanChanged,
    Presented,
    Recorded,
    Said,
    Spent,
    Stopped,
    ToolCalled,
    ToolReturned,
    TurnBegan,
)
from massgen.log import read
from massgen.messages import ToolCall
from massgen.sessions import LOG_NAME
from massgen.state import fold
from tests import case_studies
from tests.case_studies import KEY, ROOT, STUDIES, play, question, script
from tests.command import massgen
from tests.test_replay_backend import WATCHED

pytestmark = [pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name), pytest.mark.timeout(60)]


def recorded(study: Path) -> list[Recorded]:
    return [*read(study / "session" / LOG_NAME)]


def page(study: Path) -> str:
    return (ROOT / f"handbook/case-studies/{study.name}.md").read_text("utf-8")


# --- facts without what cannot be the same twice --------------------------------------------------------------------


def timeless(facts: Iterable[Recorded]) -> list[Fact]:
    """Without who was called, where, how long that took and what it cost."""
    return [_timeless(each.fact) for each in facts]


def _timeless(fact: Fact) -> Fact:
    match fact:
        case Asked():
            roster = tuple(replace(each, backend="", model="") for each in fact.roster)
            return replace(fact, roster=roster, config={}, folder="", template="")
        case Spent():
            return replace(fact, model="", seconds=0.0, cost=None)
        case ToolReturned():
            return replace(fact, seconds=0.0)
        case PlanChanged():
            times = ("created", "started", "ended")
            tasks = (replace(each, **{name: float(getattr(each, name) > 0) for name in times}) for each in fact.tasks)
            return replace(fact, tasks=tuple(tasks))
        case _:
            return fact


def unlabelled(facts: Iterable[Fact]) -> list[Fact]:
    """With ballots in one order, and each vote for the number of an answer: labels are shuffled for every voter."""
    shown: dict[str, Mapping[str, tuple[int, ...]]] = {}
    found: list[Fact] = []
    for fact in facts:
        match fact:
            case TurnBegan(agent, _, ballot) | Informed(agent, _, ballot):
                shown[agent] = ballot
                plain = replace(fact, ballot={str(place): each for place, each in enumerate(sorted(ballot.values()))})
            case Said(agent, _, message):
                parts = tuple(_chosen(each, shown[agent]) for each in message.parts)
                plain = replace(fact, message=replace(message, parts=parts))
            case _:
                plain = fact
        found.append(plain)
    return found


def _chosen(part: Any, ballot: Mapping[str, tuple[int, ...]]) -> Any:
    if not isinstance(part, ToolCall) or part.name != "vote":
        return part
    given = json.loads(part.arguments)
    return replace(part, arguments=json.dumps({**given, "agent_id": ballot[given["agent_id"]]}))


# --- the session ----------------------------------------------------------------------------------------------------


async def test_the_recorded_session_follows_the_rules(study: Path) -> None:
    ran = await massgen("verify", str(study / "session"))
    assert (ran.code, ran.err) == (0, "")
    assert f"{len(recorded(study))} facts agree with the rules" in ran.out


async def test_the_session_is_reproduced_fact_by_fact_without_a_key_a_socket_or_a_tool(
    study: Path, tmp_path: Path
) -> None:
    how = ["--config", str(study / "team.yaml"), "--profile-name", "replay", "--session-dir", "again"]
    ran = await massgen("-c", WATCHED, *how, question(study), program=())
    done = recorded(study)
    assert (ran.code, ran.out) == (0, f"{presented(done)}\n"), ran.err
    (session,) = (tmp_path / "again").iterdir()
    assert timeless(read(session / LOG_NAME)) == timeless(done)
    assert [path.name for path in tmp_path.iterdir()] == ["again"], "a replay makes nothing"


async def test_the_session_comes_about_again_when_its_script_is_played(study: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(study, work, ignore=shutil.ignore_patterns("session", "made", "__pycache__"))
    ran = await play(study, work)
    assert ran.code == 0, ran.err
    (session,) = (work / "sessions").iterdir()
    assert unlabelled(timeless(read(session / LOG_NAME))) == unlabelled(timeless(recorded(study)))
    new = {path.name for path in work.iterdir()} - {path.name for path in study.iterdir()} - {"sessions", "__pycache__"}
    assert {name: (work / name).read_text("utf-8") for name in new} == made(study)


def test_all_that_the_script_says_was_said_and_nothing_else(study: Path) -> None:
    said = [(each.fact.agent, each.fact.message.text) for each in recorded(study) if isinstance(each.fact, Said)]
    assert said == [(line.agent, line.text) for line in script(study)]


def test_the_recording_tells_no_key_and_no_place(study: Path) -> None:
    text = (study / "session" / LOG_NAME).read_text("utf-8")
    assert KEY not in text
    assert not re.findall(r"127\.0\.0\.1|localhost|[\"= ]/(?:home|root|tmp|usr|Users|var|work)\b", text)
    assert "${OPENAI_API_KEY}" in text
    asked = recorded(study)[0].fact
    assert isinstance(asked, Asked)
    assert asked.folder == study.relative_to(ROOT).as_posix()


# --- what was asked, and of whom ------------------------------------------------------------------------------------


def test_the_question_is_the_one_that_was_asked(study: Path) -> None:
    asked = recorded(study)[0].fact
    assert isinstance(asked, Asked)
    assert asked.question == question(study)


def test_the_team_is_the_one_that_was_asked_and_that_the_page_names(study: Path) -> None:
    env = {"OPENAI_API_KEY": KEY, "SCRIPTED_MODELS": "http://127.0.0.1:1/v1"}
    config, scripted = load(study / "team.yaml", env).config, load(study / "team.yaml", env, profile="scripted")
    asked, text = recorded(study)[0].fact, page(study)
    assert isinstance(asked, Asked)
    assert json.loads(json.dumps(scripted.source).replace(f"{ROOT}/", "")) == asked.config
    for name, agent in config.named_agents.items():
        assert f"**{name}**" in text
        assert agent.backend.model in text
        assert agent.role in text


def test_the_page_says_in_one_place_who_wrote_the_replies(study: Path) -> None:
    assert page(study).count("written for this study") == 1
    assert (study / "script.yaml").name in page(study)


async def test_the_handbook_shows_the_session_whole_as_it_is_exported(study: Path, tmp_path: Path) -> None:
    await massgen("sessions", "export", str(study / "session"), "--output", "session.html", cwd=tmp_path)
    shown, exported = case_studies.page(study), tmp_path / "session.html"
    assert shown.read_text("utf-8") == exported.read_text("utf-8"), "python -m tests.case_studies pages"


def test_the_plan_that_the_page_draws_is_the_one_that_was_carried_out(study: Path) -> None:
    plan = fold(recorded(study)).plans[""].tasks
    drawn = re.findall(r"^    (\w+)(?:\[.*?\])? --> (\w+)", page(study), re.MULTILINE)
    assert sorted(drawn) == sorted((other, name) for name, task in plan.items() for other in task.depends_on)
    owners = dict(re.findall(r"(\w+)\[\"\w+ \((\w+)[^]]*\]", page(study)))
    assert owners == {name: task.assignee for name, task in plan.items()}
    assert {task.status for task in plan.values()} == {"completed"}


# --- what was made --------------------------------------------------------------------------------------------------


def made(study: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in (study / "made").iterdir()}


def presented(facts: Iterable[Recorded]) -> str:
    return [each.fact.content for each in facts if isinstance(each.fact, Presented)][-1]


def test_what_was_made_is_what_tools_were_given_after_the_vote(study: Path) -> None:
    done = recorded(study)
    calls = [each for each in done if isinstance(each.fact, ToolCalled)]
    (write,) = [each for each in calls if isinstance(each.fact, ToolCalled) and each.fact.name == "write_report"]
    assert isinstance(write.fact, ToolCalled)
    assert made(study) == {"report.md": json.loads(write.fact.arguments)["markdown"]}
    (final,) = [each.seq for each in done if isinstance(each.fact, TurnBegan) and each.fact.purpose == "present"]
    assert write.fact.turn == final
    assert isinstance(done[-1].fact, Stopped)


def test_the_data_are_those_that_their_program_writes(study: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, study / "data.py", tmp_path], check=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in study.glob("*.csv")
    }


def outage(study: Path) -> list[str]:
    """Every phrase of the report that has a figure in it, with the figures that follow from the data."""
    log, minutes = rows(study / "log.csv"), rows(study / "metrics.csv")
    changes = {each["id"]: each["time"] for each in rows(study / "changes.csv")}
    failed = [each for each in log if each["path"] == "/checkout" and each["status"] == "503"]
    first, last, mended = failed[0]["time"][:5], failed[-1]["time"], changes["c-208"]
    tried = [each for each in log if each["path"] == "/checkout" and first <= each["time"][:5] <= last[:5]]
    orders, before = sums(minutes, first, last)
    lost, ahead = before - orders, sums(minutes, "00:00", f"{int(first[:2])}:{int(first[3:]) - 1:02}")
    after = max(int(each["pool_in_use"]) for each in minutes if each["minute"] >= mended)
    full = [each["minute"] for each in minutes if each["pool_in_use"] == each["pool_size"]]
    sizes = [*dict.fromkeys(each["pool_size"] for each in minutes)]
    crowd = next(each["time"][:5] for each in log if per_minute(log, each["time"][:5]) > 1.5 * per_minute(log, "13:20"))
    v411, v412 = (f"{versions(failed)[each]} of {versions(tried)[each]}" for each in ("v411", "v412"))
    late = sum(each["path"] == "/search" and each["status"] == "504" for each in log)
    return [
        f"From {first} to {mended} UTC, {len(failed)} of {len(tried)} checkouts failed "
        f"({100 * len(failed) / len(tried):.0f} %). It cost {lost} orders.",
        f"| {changes['c-207']} | c-207 sets the pool of connections to payments from {sizes[0]} to {sizes[1]},",
        f"| {crowd} | The newsletter",
        f"| {full[0]} | All {sizes[1]} connections are in use",
        f"| {last[:5]} | The last failed checkout, at {last} |",
        f"| {mended} | c-208 sets the pool to {sizes[0]} again; never more than {after} connections in use since |",
        f"| {first} to {last[:5]} | |",
        f"| checkouts | {len(tried)} |\n| failed | {len(failed)} |\n| orders | {orders} |",
        f"week before | {before} |\n| orders lost | {lost} |",
        f"{ahead[0]} orders against {ahead[1]} since {minutes[0]['minute']}. So {lost} is rather too low.",
        f"Web v412, at {changes['w-412']} to half of the servers: v411 failed in {v411} checkouts, v412 in {v412}.",
        f"Search 0.88, at {changes['s-088']}: {late} searches failed",
        f"for two minutes: here at {full[2]}, {minute(mended) - minute(full[2])} minutes before the repair.",
    ]


def rows(file: Path) -> list[dict[str, str]]:
    return [*csv.DictReader(file.read_text("utf-8").splitlines())]


def sums(minutes: list[dict[str, str]], start: str, end: str) -> tuple[int, int]:
    """Orders of that day and of the week before."""
    own = [each for each in minutes if start <= each["minute"] <= end]
    return sum(int(each["orders"]) for each in own), sum(int(each["orders_week_before"]) for each in own)


def per_minute(log: list[dict[str, str]], time: str) -> int:
    return sum(each["time"].startswith(time) for each in log)


def versions(requests: list[dict[str, str]]) -> Counter[str]:
    return Counter(each["version"] for each in requests)


def minute(time: str) -> int:
    return 60 * int(time[:2]) + int(time[3:5])


ORACLES: Mapping[str, Callable[[Path], list[str]]] = {"outage": outage}


def test_every_figure_of_the_report_follows_from_the_data(study: Path) -> None:
    rest = made(study)["report.md"]
    for phrase in ORACLES[study.name](study):
        assert phrase in rest
        rest = rest.replace(phrase, "")
    assert re.findall(r"\d+", rest) == ["14", "1", "2", "3"], "the date, and the numbers of a list"
