"""The gate catches what it is there for: drifts are planted in a copy of the repository, and each must be told."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.handbook import checks, console
from tests.handbook.fences import fences, prose

ROOT = Path(__file__).parents[1]
COPIED = ("massgen", "examples", "handbook", "tests", "benchmarks", "README.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "Makefile", "mkdocs.yml", "pyproject.toml")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drift:
    """An edit that makes a page untrue: `old` becomes `new` in `file`; the gate must then name `place` and `kind`."""

    name: str
    file: str
    old: str
    new: str
    place: str
    kind: str
    run: str = ""
    """The page whose commands show it, where only running shows it."""


DRIFTS = [
    Drift("a renamed flag", "massgen/commands/options.py", '"--no-display"', '"--no-view"', "handbook/guides/asking.md", "flag"),
    Drift("a new option", "massgen/commands/models.py", '@command.command("path")', '@command.command("path")\n@click.option("--far")', "handbook/reference/command-line.md", "generated"),
    Drift("a changed default", "massgen/config.py", "patience_seconds: Seconds = 120", "patience_seconds: Seconds = 90", "handbook/reference/configuration.md", "generated"),
    Drift("a renamed key", "massgen/config.py", "    voting_sensitivity:", "    vote_sensitivity:", "handbook/guides/configure.md", "configuration"),
    Drift("a removed type of backend", "massgen/config.py", '"openai", ', "", "README.md", "configuration"),
    Drift("a changed prompt", "massgen/prompts.py", "You are a critic.", "You are a judge.", "handbook/reference/prompts.md", "generated"),
    Drift("a changed fact", "massgen/events.py", '"""An agent voted for the answer `choice`; the vote counts while it saw every current answer."""', '"""Something else."""', "handbook/reference/facts.md", "generated"),
    Drift("an edited template", "examples/openai.yaml", "# Purpose: a team of three", "# Purpose: a team of four", "handbook/reference/templates.md", "generated"),
    Drift("a changed error text", "massgen/loading.py", "unknown key", "no such key", "handbook/guides/configure.md", "output", run="handbook/guides/configure.md"),
    Drift("a quoted error that changed", "massgen/backends/providers.py", "no key for ", "a key is missing for ", "handbook/guides/troubleshooting.md", "error text"),
    Drift("a bumped version", "massgen/__init__.py", '__version__ = "', '__version__ = "9', "handbook/start/install.md", "output", run="handbook/start/install.md"),
    Drift("a changed exit code", "massgen/errors.py", "PARTIAL = 3", "PARTIAL = 4", "handbook/guides/errors.md", "exit code"),
    Drift("a variable on no page", "massgen/paths.py", '"MASSGEN_HOME"', '"MASSGEN_ROOT"', "massgen/paths.py", "variable"),
    Drift("a module on no page", "massgen/acts.py", "", "", "handbook/concepts/architecture.md", "module"),
    Drift("a false output", "handbook/guides/asking.md", "Paris.\n", "Lyon.\n", "handbook/guides/asking.md", "output", run="handbook/guides/asking.md"),
    Drift("a command that does not exist", "handbook/guides/configure.md", "config validate", "config check", "handbook/guides/configure.md", "command"),
    Drift("a dead link", "handbook/index.md", "start/install.md", "start/instal.md", "handbook/index.md", "link"),
    Drift("a dead anchor", "handbook/guides/asking.md", "(errors.md)", "(errors.md#4-more)", "handbook/guides/asking.md", "link"),
    Drift("a page that no navigation has", "mkdocs.yml", "      - guides/errors.md\n", "", "handbook/guides/errors.md", "navigation"),
    Drift("a moved page", "mkdocs.yml", "guides/migrate.md", "guides/moving.md", "handbook/guides/migrate.md", "navigation"),
    Drift("a broken diagram", "handbook/concepts/how-a-team-decides.md", "stateDiagram-v2", "stateDiagrm", "handbook/concepts/how-a-team-decides.md", "diagram"),
    Drift("an unknown kind of fence", "handbook/guides/configure.md", "```yaml title=\"base.yaml\"", "```ruby title=\"base.yaml\"", "handbook/guides/configure.md", "fence"),
    Drift("a YAML block of no model", "README.md", ' title="team.yaml"', "", "README.md", "yaml"),
    Drift("a misspelt setting", "handbook/concepts/how-a-team-decides.md", "`skip_voting`", "`skip_vote`", "handbook/concepts/how-a-team-decides.md", "name"),
    Drift("a setting in the wrong section", "handbook/concepts/how-a-team-decides.md", "`timeout_settings.turn_timeout_seconds`", "`orchestrator.turn_timeout_seconds`", "handbook/concepts/how-a-team-decides.md", "setting"),
    Drift("a template that does not exist", "handbook/start/first-run.md", "`@examples/quickstart`", "`@examples/quick`", "handbook/start/first-run.md", "template"),
    Drift("a retired model", "handbook/start/first-key.md", "model: gpt-6-luna", "model: gpt-3-luna", "handbook/start/first-key.md", "model"),
    Drift("a file that is gone", "handbook/concepts/architecture.md", "`massgen/state.py`", "`massgen/stats.py`", "handbook/concepts/architecture.md", "file"),
    Drift("a make target that is gone", "Makefile", "\nbench:", "\nmeasure:", "handbook/concepts/performance.md", "make"),
    Drift("a public name on no page", "massgen/__init__.py", '["Result", ', '["Outcome", "Result", ', "handbook/reference/api.md", "public name"),
    Drift("a stale notebook", "handbook/start/notebook.ipynb", "'Paris.'", "'Lyon.'", "handbook/start/notebook.ipynb", "notebook", run="handbook/start/notebook.ipynb"),
    Drift("Python that does not parse", "README.md", "import massgen\n", "import massgen as\n", "README.md", "python"),
]  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, to be spoilt."""
    root = tmp_path_factory.mktemp("drift")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(ROOT / name, root / name)
    return root


def gate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The gate on the repository at `root`, which is the code that it looks at, too."""
    program = [sys.executable, "-m", "tests.handbook", "check", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(program, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: drift.name)
def test_a_planted_drift_is_told_with_its_place_its_class_and_its_remedy(drift: Drift, copy: Path) -> None:
    file = copy / drift.file
    before = file.read_bytes()
    try:
        if drift.old:
            assert drift.old in before.decode(), "the drift cannot be planted: mend its `old`"
            file.write_text(before.decode().replace(drift.old, drift.new), "utf-8")
        else:
            (copy / "massgen/zzyzx.py").write_text('"""A module."""\n')
        ran = gate(copy, *([drift.run, "--run"] if drift.run else []))
    finally:
        file.write_bytes(before)
        (copy / "massgen/zzyzx.py").unlink(missing_ok=True)
    assert ran.returncode == 1, ran.stderr
    told = [line for line in ran.stderr.splitlines() if line.startswith(f"{drift.place}:")]
    assert any(f": {drift.kind}: " in line for line in told), ran.stderr
    assert "\n  " in ran.stderr


@pytest.mark.timeout(60)
def test_an_unspoilt_copy_has_no_drift(copy: Path) -> None:
    ran = gate(copy)
    assert (ran.returncode, ran.stderr) == (0, "")


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
