"""What every test stands on: a home of its own, no keys, no proxies."""

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from massgen.models import ensure
from tests.redis_server import PROGRAM

Begun = Callable[[], list[psutil.Process]]
SMALLEST = "smollm2-135m"
"""The model that tests really run."""


_NPM = [Path(__file__).parent / each / "node_modules" / ".package-lock.json" for each in ("inspector", "toolbox")]
_MISSING = {
    "redis": (PROGRAM is None, "redis-server is not installed (Debian: apt-get install redis-server); CI installs it"),
    "npm": (
        not all(each.exists() for each in _NPM),
        "packages of npm are not installed: `make test` does it where there is npm; CI installs that",
    ),
}
_TRACED = frozenset({"test_command", "test_config_command", "test_continue", "test_embedded_team", "test_init", "test_interactive", "test_live", "test_log", "test_models_command", "test_newcomer", "test_output", "test_plan_command", "test_planning_server", "test_terminal", "test_tools"})  # fmt: skip
"""Modules whose processes coverage traces. Those of others run the same lines, and tracing doubles what a process costs."""
_UNTRACED = frozenset({"test_config_fuzz", "test_durability", "test_interruptions", "test_log_fuzz", "test_planted_bugs", "test_truths"})  # fmt: skip
"""Modules that run by the hundred what others run once: coverage leaves them out, for the same reason."""
assert all(Path(__file__).with_name(f"{name}.py").exists() for name in _TRACED | _UNTRACED), "a module was renamed"
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:  # as under nohup, or in the background of a script
        signal.signal(_number, _handler)
_left_out: dict[str, list[pytest.Item]] = {}


def pytest_collectstart() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    """What was imported stays: looking for garbage among its million objects takes half a second each time."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need what is not installed are left out; the summary says so. Others are not traced."""
    for item in items:
        if item.path.stem in _UNTRACED:
            item.add_marker(pytest.mark.no_cover)
    for marker in (marker for marker, (missing, _) in _MISSING.items() if missing):
        _left_out[marker] = [item for item in items if item.get_closest_marker(marker)]
        items[:] = [item for item in items if item.get_closest_marker(marker) is None]
        config.hook.pytest_deselected(items=_left_out[marker])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for marker, left_out in _left_out.items():
        if left_out:
            why = _MISSING[marker][1]
            terminalreporter.write_line(f"{len(left_out)} tests marked `{marker}` were left out: {why}")


@pytest.fixture(autouse=True)
def _clean_environment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.path.stem not in _TRACED:
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    for name in [*os.environ]:
        if name.endswith(("_API_KEY", "_PROXY", "_proxy", "_API_BASE")) or name.startswith("MASSGEN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MASSGEN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def begun() -> Begun:
    """What this test has started and what still runs, direct children first; not what a session's fixture keeps, such as Redis."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: [each for each in psutil.Process().children(recursive=True) if each not in before]


@pytest.fixture(scope="session")
def model() -> Path:
    """The file of the smallest embedded model, fetched once into $MASSGEN_TEST_MODELS or the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MASSGEN_LOCAL_MODEL", raising=False)
        patch.delenv("MASSGEN_HOME", raising=False)
        if folder := os.environ.get("MASSGEN_TEST_MODELS"):
            patch.setenv("MASSGEN_HOME", folder)
        return ensure(SMALLEST)
