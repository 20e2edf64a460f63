"""What must be on a page because it is in the code, and the other way round."""

import errno
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

import massgen
from massgen import limiter
from massgen.errors import Exit
from tests.handbook import workflows
from tests.handbook.fences import Problem

CITATION = Path("CITATION.cff")
ERRORS, API = Path("handbook/guides/errors.md"), Path("handbook/reference/api.md")
ARCHITECTURE, TROUBLE = Path("handbook/concepts/architecture.md"), Path("handbook/guides/troubleshooting.md")


def problems() -> Iterator[Problem]:
    yield from _exit_codes()
    yield from _public_names()
    yield from _modules()
    yield from _quotes()
    yield from _citation()
    yield from workflows.problems()


def _exit_codes() -> Iterator[Problem]:
    """Each code has its section, in order, and commands in it that end with that code and no other."""
    parts = re.split(r"^## (\d+): .+$", ERRORS.read_text("utf-8"), flags=re.MULTILINE)[1:]
    sections = {int(code): text for code, text in zip(parts[::2], parts[1::2], strict=True)}
    fix = "Give every code of massgen.errors.Exit a section with a command that ends so."
    if [*sections] != sorted(map(int, Exit)):
        yield Problem(
            f"{ERRORS}:1", "exit code", f"it has sections for {[*sections]}, not {sorted(map(int, Exit))}", fix
        )
    for code, text in sections.items():
        ends = {int(each) for each in re.findall(r"\[exit code (\d+)\]", text)} or {0}
        if ends != {code} or "```console" not in text:
            yield Problem(f"{ERRORS}:1", "exit code", f"the commands of section {code} end with {sorted(ends)}", fix)


def _public_names() -> Iterator[Problem]:
    told = {*re.findall(r"^::: massgen(?:\.\w+)*\.(\w+)$", API.read_text("utf-8"), re.MULTILINE)}
    for name in sorted(told ^ {*massgen.__all__, *limiter.__all__}):
        yield Problem(
            f"{API}:1",
            "public name",
            f"{name} is not both here and in `__all__` of massgen or massgen.limiter",
            "Write it in both, or in none.",
        )


def _modules() -> Iterator[Problem]:
    text = ARCHITECTURE.read_text("utf-8")
    for path in sorted(Path("massgen").rglob("[a-z]*.py")):
        if not re.search(rf"\b{path.stem}\b", text):
            yield Problem(f"{ARCHITECTURE}:1", "module", f"{path} is not in the tree", "Say in a line what it is for.")


def _quotes() -> Iterator[Problem]:
    """What troubleshooting quotes is what massgen says."""
    text = TROUBLE.read_text("utf-8")
    quoted = re.findall(r"^## \"(.+?)\"", text, re.MULTILINE) + re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)
    said = re.sub(r"\"\s+f?\"", "", "".join(path.read_text("utf-8") for path in Path("massgen").rglob("*.py")))
    known = {"", "libgomp.so.", os.strerror(errno.ENOSPC)}
    for phrase in quoted:
        for piece in re.split(r"\.\.\.|\d+|: |\(", phrase):
            if piece.strip() not in known and piece.strip(" )") not in said:
                yield Problem(
                    f"{TROUBLE}:1", "error text", f"massgen never says {piece.strip()!r}", "Quote what it says."
                )


def _citation() -> Iterator[Problem]:
    """What is cited is what is installed."""
    cited = yaml.safe_load(CITATION.read_text("utf-8"))
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    for key, told in {"title": project["name"], "license": project["license"], "type": "software"}.items():
        if cited.get(key) != told:
            what = f"{key} is {cited.get(key)!r}, and in pyproject.toml {told!r}"
            yield Problem(f"{CITATION}:1", "citation", what, "Make them the same.")
