"""What the README and the handbook say, held against the code."""

import errno
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from massgen import cli
from massgen.loading import parse
from tests.handbook import generate

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "handbook").rglob("*.md"))
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fences(path: Path, *languages: str) -> list[str]:
    return [body for _, language, body in FENCE.findall(path.read_text("utf-8")) if language in languages]


def prose(path: Path) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text("utf-8")))


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def commands(path: Path) -> list[str]:
    """The shell commands of a page, continued lines joined, without prompts, comments and output."""
    lines: list[str] = []
    for language in ("console", "bash"):
        for body in fences(path, language):
            whole = body.replace("\\\n", " ").splitlines()
            lines += [line.removeprefix("$ ") for line in whole if language == "bash" or line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_what_the_code_says(name):
    assert generate.FOLDER / name not in generate.stale(), "run: make docs-update"


def test_a_stale_page_is_named_with_the_command_that_mends_it(tmp_path, capsys):
    assert generate.main([], tmp_path) == 0
    assert generate.main(["--check"], tmp_path) == 0
    (tmp_path / "facts.md").write_text("old")
    (tmp_path / "prompts.md").unlink()

    assert generate.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / name}: not what the code says; run: make docs-update" for name in ("prompts.md", "facts.md")
    ]


def test_pages_do_not_depend_on_the_process_that_writes_them():
    code = "from tests.handbook import generate; print(*(page() for page in generate.PAGES.values()), sep='')"
    environment = {"PYTHONHASHSEED": "7", "COLUMNS": "40", "PYTHONUTF8": "1"}
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert ran.stdout.decode() == "".join(page() for page in generate.PAGES.values()) + "\n"


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_relative_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", prose(path)):
        place, _, part = (target[0] or target[1]).partition("#")
        if re.match(r"[a-z]+:", place):
            continue
        file = (path.parent / place).resolve() if place else path
        assert file.is_relative_to(ROOT), place
        assert file.exists(), place
        headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE) if part else []
        assert not part or part in map(anchor, headings), f"{place}#{part}"


@pytest.mark.parametrize("path", [path for path in PAGES if fences(path, "yaml")], ids=page_id)
def test_every_configuration_loads(path):
    for body in fences(path, "yaml"):
        data = yaml.safe_load(body)
        if "agents" not in data:
            data["agents"] = [{"backend": {"type": "local"}}]
        assert parse(data, dict.fromkeys(re.findall(r"\$\{(\w+)\}", body), "http://localhost:1/v1"))


@pytest.mark.parametrize("path", [path for path in PAGES if commands(path)], ids=page_id)
def test_every_massgen_command_is_one(path):
    for line in commands(path):
        for program, *words in (_without_variables(part) for part in re.split(r" (?:\||&&) |; ", line)):
            if program == "massgen":
                _check(words)


def _without_variables(command: str) -> list[str]:
    words = shlex.split(re.sub(r"[<>] ?\S+", "", command), comments=True)
    while len(words) > 1 and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    return words or [""]


def _check(words: list[str]) -> None:
    """Let click read `words` as it would, without running them; it raises what is wrong with them."""
    command = cli.command(words.pop(0) if words and words[0] in cli.COMMANDS else "ask")
    if isinstance(command, click.Group) and words:
        command = command.commands[words.pop(0)]
    if words not in (["--help"], ["--version"]):
        context = command.make_context("massgen", words)
        assert len(context.params.get("question", ())) <= 1


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_make_target_that_is_named_exists(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = path.read_text("utf-8")
    named = {
        *re.findall(r"`make ([a-z-]+)`", text),
        *re.findall(r"^\$? ?make ([a-z-]+)", "\n".join(commands(path)), re.M),
    }
    assert named <= targets


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_file_of_the_package_that_is_named_exists(path):
    for name in re.findall(r"`((?:massgen|tests|examples|handbook|benchmarks)/[\w./-]*)`", path.read_text("utf-8")):
        assert (ROOT / name).exists(), name


def test_troubleshooting_quotes_what_massgen_says():
    text = (ROOT / "handbook/guides/troubleshooting.md").read_text("utf-8")
    quoted = re.findall(r"^## \"(.+?)\"", text, re.MULTILINE) + re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "massgen").rglob("*.py"))
    said = re.sub(r"\"\s+f?\"", "", sources) + os.strerror(errno.ENOSPC)

    assert len(quoted) >= 10
    for phrase in quoted:
        for piece in re.split(r"\.\.\.|\d+|: |\(", phrase):
            assert piece.strip() in {"", "libgomp.so."} or piece.strip(" )") in said, phrase


def test_the_architecture_page_has_every_module():
    text = (ROOT / "handbook/concepts/architecture.md").read_text("utf-8")
    for path in (ROOT / "massgen").rglob("[a-z]*.py"):
        assert re.search(rf"\b{path.stem}\b", text), path.stem


def test_the_readme_fits_on_a_screen():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 75
