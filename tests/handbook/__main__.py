"""The handbook's gate: `python -m tests.handbook check` tells every drift, `update` writes what can be written by itself.

check [--run] [PAGE...]   what is wrong with the pages; with --run their commands are run and compared, too
update [PAGE...]          generated pages, then the outputs of commands, in two passes; `git diff` shows what changed
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from massgen.models import ensure
from tests.handbook import checks, console, contents, generate, links, names, notebooks, python_blocks
from tests.handbook.fences import Problem

ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md", "CHANGELOG.md")


SMALLEST = "smollm2-135m"
"""The embedded model that pages are run with: the smallest."""
NOTEBOOKS = sorted(Path("handbook").rglob("*.ipynb"))


def pages() -> list[Path]:
    """Every page that the gate holds, from the root of the repository."""
    return [*(Path(name) for name in ROOT_PAGES), *sorted(Path("handbook").rglob("*.md")), *NOTEBOOKS]


def static(page: Path) -> Iterator[Problem]:
    """What is wrong with `page` that can be seen without running it."""
    if page.suffix == ".ipynb":
        return
    yield from checks.problems(page)
    yield from names.problems(page)
    yield from links.problems(page)


def whole() -> Iterator[Problem]:
    """What is wrong that no single page shows."""
    yield from names.undocumented_variables()
    yield from links.unlisted()
    yield from contents.problems()
    for path in generate.stale():
        yield Problem(
            f"{path.relative_to(Path.cwd())}:1", "generated", "it is not what the code says", "make docs-update"
        )


def check(chosen: Sequence[Path], *, run: bool) -> int:
    found = [problem for page in chosen for problem in static(page)] + [*whole()]
    if run:
        found += run_problems(chosen)
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


def run_problems(chosen: Sequence[Path]) -> Iterator[Problem]:
    with console.world(ensure(SMALLEST), many=len(chosen) > 1) as variables, tempfile.TemporaryDirectory() as folder:
        for number, page in enumerate(chosen):
            yield from run_page(page, variables, Path(folder, str(number)))
        if told := python_blocks.run(variables, Path(folder, "blocks")):
            yield Problem("README.md, handbook/, massgen/", "python", told, "make docs-update")


def run_page(page: Path, variables: Mapping[str, str], home: Path) -> Iterator[Problem]:
    """What is wrong with what `page` says its commands, or its cells, print."""
    if page.suffix == ".ipynb":
        yield from notebooks.problems(page, variables, home)
    else:
        yield from console.problems(_run(page, variables, home))


def _run(page: Path, variables: Mapping[str, str], home: Path) -> list[console.Ran]:
    """What the commands of `page` print; those of a case study find it in a checkout, `~/massgen`."""
    if page.parent.name == "case-studies":
        study = Path("case_studies", page.stem)
        shutil.copytree(study, home / "massgen" / study, ignore=shutil.ignore_patterns("__pycache__"))
    return console.run(page, variables, home)


def update(chosen: Sequence[Path]) -> int:
    generate.main([])
    with console.world(ensure(SMALLEST), many=len(chosen) > 1) as variables, tempfile.TemporaryDirectory() as folder:
        for number, page in enumerate(chosen):
            home = Path(folder, str(number))
            if page.suffix == ".ipynb":
                notebooks.update(page, variables, home)
            else:
                page.write_text(console.rewritten(page, _run(page, variables, home)), "utf-8")
        print(python_blocks.run(variables, Path(folder, "blocks"), update=True), end="", file=sys.stderr)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.handbook", description=__doc__)
    parser.add_argument("what", choices=["check", "update"])
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--run", action="store_true")
    options = parser.parse_intermixed_args()
    chosen = options.pages or pages()
    return check(chosen, run=options.run) if options.what == "check" else update(chosen)


if __name__ == "__main__":
    sys.exit(main())
