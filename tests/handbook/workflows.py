"""What CI does, in `.github/workflows`: it parses, runs what is there, on every Python that is promised, with no right too many."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.handbook.fences import Problem
from tests.handbook.names import make_targets

FOLDER = Path(".github/workflows")
RIGHTS = {("docs.yml", "deploy"): {"pages", "id-token"}, ("release.yml", "publish"): {"id-token"}}
"""The only jobs that may write, and what."""
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Leaves every scalar a text, so that `on` stays a word; ten times as fast where libyaml is."""
_PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} +# v\d+\.\d+\.\d+")
_PATH = re.compile(r"(?<![\w/.$])(?:\.ci|tests|benchmarks|handbook|examples)/[\w./-]+")


def problems() -> Iterator[Problem]:
    for path in sorted(FOLDER.glob("*.yml")):
        text = path.read_text("utf-8")
        try:
            workflow = yaml.load(text, _LOADER)  # noqa: S506 - it makes plain texts only
            told = [
                *_shape(workflow),
                *_rights(path.name, workflow),
                *_actions(text),
                *_runs(text),
                *_pythons(workflow),
            ]
        except (yaml.YAMLError, AttributeError, TypeError, KeyError) as error:
            told = [("", f"it is no workflow: {' '.join(str(error).split())}", "Mend the YAML.")]
        for near, what, fix in told:
            yield Problem(f"{path}:{1 + text[: max(0, text.find(near))].count(chr(10))}", "workflow", what, fix)


def _shape(workflow: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key in ("name", "on", "permissions", "concurrency", "jobs"):
        if not workflow.get(key):
            yield "", f"it has no {key}", "Every workflow says when it runs, what it may, and what it does."
    for name, job in workflow["jobs"].items():
        for key in ("runs-on", "timeout-minutes", "steps"):
            if not job.get(key):
                yield f"\n  {name}:", f"the job {name} has no {key}", "Give it one: nothing is unbounded."


def _rights(file: str, workflow: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    jobs = {name: job.get("permissions", {}) for name, job in workflow["jobs"].items()}
    for name, permissions in {"": workflow["permissions"], **jobs}.items():
        given = {right for right, what in permissions.items() if what == "write"}
        if more := given - RIGHTS.get((file, name), set()):
            what = f"{f'the job {name}' if name else 'every job'} may write {', '.join(sorted(more))}"
            yield f"\n  {name}:" if name else "permissions:", what, "Only what publishes may write; RIGHTS tells which."


def _actions(text: str) -> Iterator[tuple[str, str, str]]:
    """What others wrote is what was read, and is told no secret."""
    for uses in re.findall(r"uses: (.+)", text):
        if not _PINNED.fullmatch(uses):
            yield uses, f"{uses} is not pinned", "Name the whole commit and, in a comment, its version: @SHA # v1.2.3"
    if "secrets." in text:
        yield "secrets.", "it reads a secret", "Publish by who we are (id-token), not by what we know."


def _runs(text: str) -> Iterator[tuple[str, str, str]]:
    for line in re.findall(r"(?:run: |--ignore=).+", text):
        for target in re.findall(r"\bmake ([a-z-]+)", line):
            if target not in make_targets():
                yield f"make {target}", f"make has no target {target}", "The Makefile has them."
        for name in _PATH.findall(line):
            if not Path(name).exists():
                yield name, f"there is no {name}", "Name what is there."


def _pythons(workflow: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What is promised is tested, and what is tested is promised."""
    for job in workflow["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        if "os" in matrix and matrix["python"] != (promised := _promised(matrix["python"])):
            what = f"tests run on Python {', '.join(matrix['python'])}, and {', '.join(promised)} are promised"
            yield "os: [", what, "Make them the same as the classifiers of pyproject.toml."


def _promised(tested: list[str]) -> list[str]:
    """The classifiers' versions. Without any, those that are tested from the least that the package installs on."""
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    classifiers = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in project["classifiers"]]
    least = project["requires-python"].removeprefix(">=")
    return [found[1] for found in classifiers if found] or [least, *(each for each in tested if each != least)]
