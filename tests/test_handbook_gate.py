"""The gate catches what it is there for: drifts are planted in a copy of the repository, and each must be told."""

import json
import os
import re
import shlex
from collections.abc import Callable, Generator
from pathlib import Path

import click
import pytest

from massgen.config import Config
from tests.handbook import checks, console, forked, names, tables
from tests.handbook.__main__ import pages
from tests.handbook.drifts import COPIED, DRIFTS, Drift
from tests.handbook.fences import fences, prose
from tests.handbook.forked import Gate, copied
from tests.handbook.world import REPLIES, Book
from tests.providers import Call, Reply

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, to be spoilt."""
    return copied(ROOT, tmp_path_factory.mktemp("drift"), COPIED)


@pytest.fixture(scope="module")
def gate(copy: Path, model: Path) -> Generator[Gate]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    with forked.gate(copy, {**kept, "MASSGEN_LOCAL_MODEL": str(model)}) as gate:
        yield gate


@pytest.mark.timeout(60)
@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: drift.name)
def test_a_planted_drift_is_told_with_its_place_its_class_and_its_remedy(
    drift: Drift, copy: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy)
    file = copy / drift.file
    before = file.read_text("utf-8") if file.exists() else None
    assert drift.old in (before or ""), "the drift cannot be planted: mend its `old`"
    try:
        file.write_text(before.replace(drift.old, drift.new) if before else drift.new, "utf-8")
        code, told = gate("check", *concerned(drift))
    finally:
        file.unlink() if before is None else file.write_text(before, "utf-8")
    assert code == 1, told
    there = [line for line in told.splitlines() if line.startswith(f"{drift.place}:")]
    assert any(f": {drift.kind}: " in line for line in there), told
    assert "\n  " in told


def concerned(drift: Drift) -> list[str]:
    """What to check for `drift`: its place, if that is a page, and what no single page shows is always checked."""
    if drift.run:
        return [drift.run, "--run"]
    assert Path(drift.place).suffix != ".md" or Path(drift.place) in pages(), "the gate does not hold this page"
    return [drift.place if drift.place.endswith(".md") else "SECURITY.md"]


@pytest.mark.timeout(60)
def test_an_unspoilt_copy_has_no_drift(gate: Gate) -> None:
    code, told = gate("check")
    assert code == 0, told


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_fences_are_found_at_any_indent_and_of_any_length(tmp_path: Path) -> None:
    page = write(
        tmp_path / "p.md",
        '- a\n\n    ```yaml title="a b.yaml"\n    x: 1\n    ```\n\n````text\n```\ninside\n```\n````\n~~~json\n{}\n',
    )
    found = fences(page)
    assert [(each.language, each.body, each.line) for each in found] == [
        ("yaml", "x: 1\n", 3), ("text", "```\ninside\n```\n", 7), ("json", "{}\n", 12)
    ]  # fmt: skip
    assert found[0].title == "a b.yaml"
    text = page.read_text()
    assert [text[each.start : each.end] for each in found] == ["    x: 1\n", "```\ninside\n```\n", "{}\n"]
    assert prose(text).splitlines()[0] == "- a"
    assert "inside" not in prose(text)


@pytest.mark.parametrize(
    ("language", "body", "kind"),
    [
        ("json", "{,}", "json"), ("jsonl", '{}\n{"a"}', "jsonl"), ("toml", "a =", "toml"), ("bash", "if true", "bash"), ("python", "def", "python"),
        ("yaml", "a: [", "yaml"), ("text", "anything", "text"), ("console", "massgen", "console"), ("", "x", "fence"), ("haskell", "x", "fence"),
        ('yaml title="x.yaml"', "agents: []", "configuration"), ('yaml title="x.yaml (part)"', "orchestrator: {stop: never}", "configuration"),
        ("mermaid", "flowchart LR\n a-->b", "diagram"), ("yaml", '--8<-- "examples/none.yaml"', "snippet"),
    ],
)  # fmt: skip
def test_each_kind_of_fence_has_its_check(language: str, body: str, kind: str, tmp_path: Path) -> None:
    page = write(tmp_path / "p.md", f"```{language}\n{body}\n```\n")
    found = [*checks.problems(page)]
    assert kind in {problem.kind for problem in found}
    assert all(problem.where.startswith(f"{page}:1") and problem.fix for problem in found)


@pytest.fixture
def page(tmp_path: Path) -> Callable[[str], Path]:
    return lambda text: write(tmp_path / "p.md", text)


def test_commands_of_a_page_share_a_shell_and_the_files_it_shows(page: Callable[[str], Path], tmp_path: Path) -> None:
    path = page(
        '```ini title="a.txt"\none\n```\n```console\n$ export X=1; cd .\n$ cat a.txt \\\n    | tr a-z A-Z\nONE\n$ echo $X; false\n1\n[exit code 1]\n```\n'
    )
    ran = console.run(path, {}, tmp_path / "home")
    assert [each.actual for each in ran] == ["", "ONE\n", "1\n[exit code 1]\n"]
    assert [*console.problems(ran)] == []


def test_an_output_that_is_not_what_is_printed_is_told_and_rewritten(
    page: Callable[[str], Path], tmp_path: Path
) -> None:
    text = "- in a list\n\n    ```console\n    $ echo two\n    one\n    $ (exit 3)\n    $ echo done in 0.25 s\n    done in 1.5 s\n    ```\n"
    path = page(text)
    ran = console.run(path, {}, tmp_path / "home")
    told = [str(problem) for problem in console.problems(ran)]
    assert [line.split(": ")[0] for line in told] == [f"{path}:4", f"{path}:6"]
    assert console.rewritten(path, ran) == text.replace("    one\n", "    two\n").replace(
        "(exit 3)\n", "(exit 3)\n    [exit code 3]\n"
    )


def test_a_syntax_error_in_one_command_is_its_own(page: Callable[[str], Path], tmp_path: Path) -> None:
    ran = console.run(page("```console\n$ echo (\n$ echo b\nb\n```\n"), {}, tmp_path / "home")
    assert ran[0].actual.endswith("[exit code 1]\n") or ran[0].actual.endswith("[exit code 2]\n")
    assert ran[1].same


@pytest.mark.timeout(30)
def test_a_page_cannot_reach_a_host_that_is_not_scripted(page: Callable[[str], Path], tmp_path: Path) -> None:
    code = "import urllib.request as u; u.urlopen('https://example.org')"
    path = page(f'```console\n$ python -c "{code}" 2>/dev/null || echo refused\nrefused\n```\n')
    with pytest.raises(RuntimeError, match=r"tried to reach example\.org"):
        _run_in_a_world(path, tmp_path / "home")


def _run_in_a_world(path: Path, home: Path) -> None:
    with console.world(Path()) as variables:
        assert console.run(path, variables, home)[0].same


@pytest.mark.timeout(30)
def test_a_tool_that_a_script_uses_and_no_agent_has_fails_on_the_page(
    page: Callable[[str], Path], tmp_path: Path
) -> None:
    ask = 'massgen --model openai/gpt-6-luna "Have the atlas kept for me on that day."'
    path = page(f"```console\n$ OPENAI_API_KEY=sk-0 {ask}\n```\n")
    with console.world(Path()) as variables:
        (ran,) = console.run(path, variables, tmp_path / "home")
    assert "replies.toml calls reserve, which is not offered here: none" in ran.actual
    assert ran.actual.endswith("[exit code 1]\n")


BOOK = Book.read("""
["Is it open?"]
calls = [{ tool = "hours" }, { by = "m1", tool = "days", arguments = { week = 2 } }]
final_calls = [{ tool = "enter" }]
answer = "Yes."

["Is it open? Really?"]
answer = "It is."

["And tomorrow?"]
answer = "No."
""")


def said(model: str, *messages: str, tools: str) -> Reply:
    """What `model` says, offered `tools`, after messages of the user; `=` stands for a tool's result."""
    told = [{"role": "tool" if text == "=" else "user", "content": text} for text in messages]
    return BOOK(Call(model, "", (*told,), {name: {} for name in tools.split()}, None, False, False))


@pytest.mark.parametrize(
    ("model", "messages", "tools", "expected"),
    [
        ("m1", ["Is it open?"], "new_answer hours days", ("hours", "{}")),
        ("m1", ["Is it open?", "="], "new_answer hours days", ("days", '{"week": 2}')),
        ("m1", ["Is it open?", "=", "="], "new_answer hours days", ("new_answer", "{}")),
        ("m2", ["Is it open?", "="], "new_answer hours days", ("new_answer", "{}")),
        ("m1", ["Is it open?"], "new_answer vote hours days", ("vote", "{}")),
        ("m1", ["Is it open?"], "hours enter", ("enter", "{}")),
        ("m1", ["Is it open?", "="], "hours enter", "Yes."),
        ("m1", ["Is it open? Really?"], "new_answer hours", ("new_answer", "{}")),
        ("m1", ["Is it open? Really?", "And tomorrow?"], "", "No."),
    ],
)
def test_a_scripted_model_uses_its_tools_one_after_the_other_and_then_acts(
    model: str, messages: list[str], tools: str, expected: tuple[str, str] | str
) -> None:
    reply = said(model, *messages, tools=tools)
    assert reply.fault is None
    assert ((reply.acts[0].name, reply.acts[0].arguments) if reply.acts else reply.text) == expected


@pytest.mark.parametrize(
    ("question", "tools", "message"),
    [("Is it open?", "new_answer days", "calls hours, which is not offered here: new_answer, days"), ("Who?", "", "no such question")],
)  # fmt: skip
def test_what_a_script_does_not_provide_for_is_refused(question: str, tools: str, message: str) -> None:
    fault = said("m1", question, tools=tools).fault
    assert fault
    assert message in fault.message


def test_a_script_has_no_key_that_means_nothing() -> None:
    assert Book.read(REPLIES.read_text("utf-8")).questions
    with pytest.raises(TypeError, match="final_call"):
        Book.read('["Why?"]\nfinal_call = []')


@pytest.mark.parametrize(
    "right",
    ["A question", 'plan "A goal"', "plan -c a.yaml -o b.yml goal", "plan make goal", "plan show x", "plan shw --help", "sessions --help", "--version"],
)  # fmt: skip
def test_a_command_is_read_as_the_command_itself_reads_it(right: str) -> None:
    names.check_command(shlex.split(right))


@pytest.mark.parametrize(
    "wrong", ["plan a goal", "plan --plan b.yml goal", "plan show --out x", "sessions shw --help", "--nothing"]
)
def test_a_command_that_would_be_refused_is_wrong_on_a_page(wrong: str) -> None:
    with pytest.raises(click.UsageError):
        names.check_command(shlex.split(wrong))


def test_the_reference_of_a_configuration_has_every_section_once_with_all_its_keys() -> None:
    _, *blocks = tables.configuration()
    schema = Config.model_json_schema()
    every = [schema, *schema["$defs"].values()]
    assert len({block.splitlines()[0] for block in blocks}) == len(blocks) == len(every)
    told = [{*re.findall(r"^\| (`.+?`) \|", block, re.MULTILINE)} for block in blocks]
    keys = [{key for cell in cells for key in re.findall(r"\w+", cell)} for cells in told]
    assert keys[0] >= {*schema["properties"], "extends", "profiles"}
    assert all({*section["properties"]} in keys for section in every[1:])


def test_the_reference_of_a_configuration_says_in_words_what_may_be_written() -> None:
    text = "\n".join(tables.configuration())
    for row in (
        "| `agents` | list of 1 to 100 [sections](#agents) | required |",
        "| `orchestrator` | [section](#orchestrator) | as below |",
        "| `env` | mapping of names to texts | empty |",
        "| `access` | mapping of at most 1,000 names to `read`, `write` or `irreversible` | empty |",
        "| `timeout` | seconds (more than 0, at most 86,400) | `60` |",
        "| `temperature` | number (0 to 2), or `null` | `null` |",
        "| `id` | text (letters, digits, `_`, `.` and `-`, at most 40 characters) | empty |",
        "| `mcp_servers`, `allowed_tools`, `exclude_tools` |  |  | As in [`agents[]`](#agents). |",
        "The same stands at `agents[].mcp_servers.*` and `agents[].backend.mcp_servers.*`.",
    ):
        assert row in text
    assert "matching" not in text, "a pattern has no words in tables.PATTERNS"
    schema = json.dumps(Config.model_json_schema())
    assert all(json.dumps(pattern) in schema for pattern in tables.PATTERNS)
