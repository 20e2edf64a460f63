"""The handbook, built once and served; one Chromium for what readers do, two more that visit every page."""

import json
import os
import subprocess
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.needs import CHROMIUM, HERE, message
from tests.browser.reading import Audit, Visit, chromium, visited
from tests.browser.site import ROOT, Site, build, pages, serving

WORKERS = 2
LIGHTHOUSE = ("/", "concepts/how-a-team-decides/", "reference/configuration/", "bare/")
"""A page of each kind: a home, a guide, a generated table; and one that has nothing."""
BARE = "<!doctype html><title>Bare</title><h1>Bare</h1>"


def pytest_configure() -> None:
    if said := message():
        pytest.exit(said, returncode=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make docs` has just built is told by $SITE."""
    if folder := os.environ.get("SITE"):
        return ROOT / folder
    return build(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def site(built: Path) -> Generator[Site]:
    with serving(built) as site:
        yield site


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def auditor(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[subprocess.Popen[str]]:
    """Lighthouse at work."""
    home = tmp_path_factory.mktemp("lighthouse")
    with serving(built, {"/bare/": BARE}) as site:
        command = ["node", HERE / "lighthouse.mjs", CHROMIUM, home, *map(site.url, LIGHTHOUSE)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=HERE, stdout=pipe, stderr=pipe, text=True) as process:
            yield process
            process.kill()


@pytest.fixture(scope="session")
def audits(auditor: subprocess.Popen[str], visits: dict[str, Visit]) -> dict[str, Audit]:
    """When the visits, which go on meanwhile, are over: address -> category -> its score, and the audits that cost some of it."""
    said, complaint = auditor.communicate(timeout=250)
    assert auditor.returncode == 0, complaint
    return dict(zip(LIGHTHOUSE, json.loads(said), strict=True))


@pytest.fixture(scope="session")
def visits(built: Path, auditor: subprocess.Popen[str]) -> dict[str, Visit]:
    """Every page, visited; Lighthouse works at the same time: each fills the other's waits."""
    waiting = iter([*pages(), "404.html"])
    with ThreadPoolExecutor(WORKERS) as pool:
        found = [pool.submit(partial(visited, built, waiting)) for _ in range(WORKERS)]
        return {place: visit for each in found for place, visit in each.result().items()}
