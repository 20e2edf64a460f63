"""What pages say to install is installed, in a fresh environment, by the pip and the Python that a reader has.

pip builds the checkout and holds it against what it needs, as for a reader; those packages it finds in place (on `PYTHONPATH`:
links to the ones that massgen declares, and to no other), instead of fetching half a gigabyte again.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from massgen import __version__
from tests.handbook.console import Command, commands
from tests.handbook.fences import Fence, fences
from tests.handbook.installs import installing

ROOT = Path(__file__).parents[1]
INSTALLING = [fence for page in (ROOT / "README.md", *(ROOT / "handbook").rglob("*.md")) for fence in installing(page)]


def test_the_pages_install_massgen() -> None:
    assert {"README.md", "handbook/start/install.md"} <= {
        fence.page.relative_to(ROOT).as_posix() for fence in INSTALLING
    }


@pytest.fixture(scope="module")
def provided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("provided")
    for found in needed(Requirement("massgen[local]")):
        for name in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (folder / name).exists():
                (folder / name).symlink_to(Path(str(found.locate_file(name))))
    return folder


def needed(top: Requirement) -> Iterator[Distribution]:
    """All that `top` depends on, itself excepted."""
    todo, seen = [top], set[str]()
    while todo:
        asked = todo.pop()
        found = distribution(asked.name)
        for line in found.requires or ():
            each = Requirement(line)
            wanted = not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras))
            if wanted and str(each) not in seen:
                seen.add(str(each))
                todo.append(each)
        if asked is not top:
            yield found


@pytest.fixture
def reader(provided: Path, model: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of a reader who has activated the environment `fresh`."""
    path = os.pathsep.join([str(tmp_path / "fresh" / "bin"), os.defpath, os.environ["PATH"]])
    pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_CERT", "REQUESTS_CA"))}
    return {
        **pip, "PATH": path, "HOME": str(Path.home()), "LANG": "C.UTF-8", "PYTHONPATH": str(provided),
        "MASSGEN_HOME": str(tmp_path / "home"), "MASSGEN_LOCAL_MODEL": str(model), "TERM": "dumb",
    }  # fmt: skip


@pytest.mark.install
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fence", INSTALLING, ids=lambda fence: fence.where.removeprefix(f"{ROOT}/"))
def test_an_install_line_of_a_page_works_in_a_fresh_environment(
    fence: Fence, reader: dict[str, str], tmp_path: Path
) -> None:
    if "-m venv" not in fence.body:
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "fresh"], check=True)
    checkout = tmp_path / "checkout"
    for name in ("massgen", "examples"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    activated = 'PATH="$PWD/.venv/bin:$PATH"'
    script = "\n".join(["set -e", fence.body, activated, *(command.text for command in following(fence))])
    ran = subprocess.run(
        ["bash", "-c", script], cwd=checkout, env=reader, capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"Successfully installed massgen-{__version__}\n" in ran.stdout
    assert ran.stdout.endswith("".join(command.expected for command in following(fence)))


def following(fence: Fence) -> list[Command]:
    """The commands further down the page that show what was installed."""
    later = [each for each in fences(fence.page) if each.language == "console" and each.line > fence.line]
    return [command for each in later for command in commands(each) if command.text == "massgen --version"]
