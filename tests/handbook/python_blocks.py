"""Every Python block of the pages, and of docstrings, linted, run and compared with what it says it prints.

pytest runs this file in a process of its own (`passes`), because TLS trusts what `SSL_CERT_FILE` named when it was loaded.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

from tests.handbook import console
from tests.handbook.fences import fences

EXAMPLES = list(find_examples("README.md", "handbook", "massgen"))


def run(variables: Mapping[str, str], home: Path, *, update: bool = False) -> str:
    """What is wrong with the blocks in a world of `variables`; nothing if all is well. `update` writes what they print."""
    home.mkdir(parents=True, exist_ok=True)
    arguments = ["-q", "--noconftest", "-p", "no:randomly", "-p", "no:cacheprovider", f"--basetemp={home / 'tmp'}"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, *(["--update-examples"] if update else []), __file__],
        env={**console.environment(home), **variables, "OPENAI_API_KEY": "sk-0123456789"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout + ran.stderr if ran.returncode else ""


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_block(
    example: CodeExample, eval_example: EvalExample, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for fence in fences(example.path) if example.path.suffix == ".md" else []:
        if console.is_file(fence) and fence.language != "console":
            (tmp_path / fence.title).write_text(fence.body, "utf-8")
    monkeypatch.chdir(tmp_path)
    eval_example.set_config(line_length=120, target_version="py310", ruff_ignore=["F821", "D", "I001", "F704"])
    if eval_example.update_examples:
        eval_example.run_print_update(example)
    else:
        eval_example.lint_ruff(example)
        eval_example.run_print_check(example)
