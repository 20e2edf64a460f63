"""The embedded model's process where its runtime fails: a stand-in for the runtime fails in its place."""

import asyncio
import os
import select
import signal
from pathlib import Path

import pytest

from massgen.backends.local_server import LocalServer
from massgen.errors import LocalModelError

STARTS = """
class Anything:
    def __init__(self, *_): pass
    def __getattr__(self, name):
        setattr(self, name, Anything())
        return getattr(self, name)
CommonParams = Anything
class Server:
    listening_address = "http://127.0.0.1:9"
    def __init__(self, params): pass
"""
HANGS = "import os, signal\nwith open({path!r}, 'w') as file: file.write(str(os.getpid()))\nsignal.pause()"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder / "xllamacpp.py"


def has_ended(pid: int, seconds: float = 5) -> bool:
    """Whether the process ends within `seconds`; one that nobody has waited for counts as ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("code", "complaint", "remedy"),
    [
        ("raise ImportError('libgomp.so.1: cannot open shared object file')", "OpenMP library is missing", "libgomp1"),
        ("raise ModuleNotFoundError(\"No module named 'xllamacpp'\")", "No module named", r'pip install "\.\[local\]"'),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "this CPU lacks AVX2", "Use another backend"),
        ("import os, signal; os.kill(os.getpid(), 40)", "it was ended by signal 40 at its start", "another model"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", "it was ended by SIGABRT", "another model"),
        (
            "raise SystemExit('x' * 5000 + 'ggml said why')",
            r"exit code 1 at its start: x{1900,2000}ggml said why",
            "another",
        ),
        ("print('[3]')", "it ended with exit code 1 at its start", "another model"),
        ("print('not JSON')", "it ended with exit code 1 at its start", "another model"),
        (
            STARTS + "    def __new__(*_): raise RuntimeError('bad magic')",
            r"cannot be loaded \(bad magic\)",
            "models pull",
        ),
    ],
)
async def test_a_runtime_that_fails_is_explained_and_not_started_again(
    runtime: Path, code: str, complaint: str, remedy: str
) -> None:
    runtime.write_text(code)
    server = LocalServer(Path("model.gguf"))
    with pytest.raises(
        LocalModelError, match=rf"(?s)model.gguf: the local model does not run: .*{complaint}.*\n.*{remedy}"
    ):
        await server.base_url()
    runtime.write_text(STARTS)
    with pytest.raises(LocalModelError, match=rf"(?s){complaint}"):
        await server.base_url()
    assert server.pid is None
    await server.aclose()


async def test_agents_that_ask_at_once_share_one_process(runtime: Path) -> None:
    runtime.write_text(STARTS)
    server = LocalServer(Path("model.gguf"), slots=99)
    assert await asyncio.gather(*(server.base_url() for _ in range(5))) == ["http://127.0.0.1:9/v1"] * 5
    pid = server.pid
    assert pid
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    assert arguments[-5:-2] == ["model.gguf", "4", "4096"]
    secret = server.key
    assert secret not in "".join(arguments)
    assert secret not in Path(f"/proc/{pid}/environ").read_text()
    assert await server.cause_of_death() == ""
    await server.aclose()
    await server.aclose()
    assert has_ended(pid)
    assert await server.cause_of_death() == ""


async def test_a_module_in_the_current_folder_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('loaded')")
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "xllamacpp.py").write_text(STARTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "runtime"))
    server = LocalServer(Path("model.gguf"))
    assert await server.base_url() == "http://127.0.0.1:9/v1"
    await server.aclose()


async def test_a_runtime_that_hangs_is_given_up(runtime: Path, tmp_path: Path) -> None:
    runtime.write_text(HANGS.format(path=str(tmp_path / "pid")))
    server = LocalServer(Path("model.gguf"), start_seconds=1)
    with pytest.raises(LocalModelError, match="it did not start within 1 s"):
        await server.base_url()
    assert has_ended(int((tmp_path / "pid").read_text()))


async def test_a_start_that_is_cancelled_leaves_no_process_and_may_be_repeated(runtime: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    os.mkfifo(pid)
    runtime.write_text(HANGS.format(path=str(pid)))
    server = LocalServer(Path("model.gguf"))
    start = asyncio.create_task(server.base_url())
    child = int(await asyncio.to_thread(pid.read_text))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert has_ended(child)
    runtime.write_text(STARTS)
    assert await server.base_url()
    await server.aclose()


async def test_a_process_that_does_not_stop_is_killed(runtime: Path) -> None:
    runtime.write_text(STARTS)
    server = LocalServer(Path("model.gguf"))
    await server.base_url()
    pid = server.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    await server.aclose()
    assert has_ended(pid)
