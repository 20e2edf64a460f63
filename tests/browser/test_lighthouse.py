"""What Lighthouse says of a page of each kind: a home, a guide, a generated table. Its scores for speed are not asked: on
a shared machine they are noise. Weight and stillness are held by `test_pages`."""

import json
import os
import subprocess
from pathlib import Path

from tests.browser.diagrams import CHROMIUM, QUIET
from tests.browser.site import Site

LIGHTHOUSE = Path(__file__).parent / "node_modules/lighthouse/cli/index.js"
PLACES = ("/", "concepts/how-a-team-decides/", "reference/configuration/")


def scores(url: str, home: Path) -> dict[str, dict]:
    """Category -> its score, and the audits that cost some of it."""
    flags = "--chrome-flags=" + " ".join(("--headless=new", f"--user-data-dir={home}", *QUIET))
    ran = subprocess.run(
        ["node", LIGHTHOUSE, url, "--only-categories=accessibility,seo", "--output=json", "--quiet", flags],
        env={"CHROME_PATH": CHROMIUM, "PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    return {
        name: {
            "score": category["score"],
            "wrong": [each["id"] for each in category["auditRefs"] if report["audits"][each["id"]]["score"] == 0],
        }
        for name, category in report["categories"].items()
    }


def test_accessibility_and_findability_are_perfect(site: Site, tmp_path: Path) -> None:
    perfect = {"score": 1, "wrong": []}
    for number, place in enumerate(PLACES):
        home = tmp_path / str(number)
        home.mkdir()
        assert scores(site.url(place), home) == {"accessibility": perfect, "seo": perfect}, place


def test_a_page_without_a_description_would_be_told(site: Site, tmp_path: Path) -> None:
    bare = site.folder / "bare"
    bare.mkdir()
    (bare / "index.html").write_text("<!doctype html><title>Bare</title><h1>Bare</h1>")
    found = scores(site.url("bare/"), tmp_path)
    assert "meta-description" in found["seo"]["wrong"]
    assert "html-has-lang" in found["accessibility"]["wrong"]
