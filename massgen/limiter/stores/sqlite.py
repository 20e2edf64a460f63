"""Quotas of the processes of one machine, and of days that outlast them: a SQLite file."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from massgen import paths
from massgen.limiter.stores.file import BUSY, Busy, QuotaFile, Sense
from massgen.limiter.stores.shared import LEASE, RETRY, Answer, Away, Shared, Step, Tell, ignore

T = TypeVar("T")


def uptime() -> float:
    """Seconds since the machine was started, the same in all its processes; on Linux the time asleep counts."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def boot() -> str:
    """Another at each start of the machine; empty where the platform tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Sqlite(Shared):
    """Quotas in the file `path`, by default in massgen's data folder. A process that says nothing for `lease` seconds is dead:
    its calls under way count as acknowledged. `told` hears when the file cannot be used, and when it can again; that is tried
    after `retry` seconds, then less and less often. `patience`: seconds to wait for other processes."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        lease: float = LEASE,
        retry: float = RETRY,
        patience: float = BUSY,
        told: Tell = ignore,
        clock: Callable[[], float] = uptime,
        wall: Callable[[], float] = time.time,
        boot: Callable[[], str] = boot,
    ) -> None:
        path = path or paths.data_dir() / "quotas.db"
        super().__init__(lambda owner: _Machine(path, Sense(owner, lease, clock, wall, boot), patience), told, retry)


class _Machine:
    """A ledger in a file. A step is done at once where nobody else is writing: that is a tenth of a millisecond, and less than
    handing it over. Whatever may wait, for other processes or for the disk, is done by a thread; so are the signs of life."""

    def __init__(self, path: Path, sense: Sense, patience: float) -> None:
        self._quick, self._patient, self._sense = QuotaFile(path, sense, 0.0), QuotaFile(path, sense, patience), sense
        self.where = f"quotas in {path}"
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def sharers(self) -> int:
        return self._patient.sharers

    async def open(self) -> None:
        self._quick.close()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="massgen-quotas", daemon=True)
            self._thread.start()
        await self._run(self._patient.open)
        self._quick.connect()

    async def do(self, step: Step, ago: float) -> Answer:
        if self._patient.replaced:
            raise Away("it was deleted or replaced")
        try:
            return self._quick.do(step, ago)
        except Busy:
            return await self._run(lambda: self._patient.do(step, ago))

    async def close(self) -> None:
        self._quick.close()
        if self._thread:
            thread, self._thread = self._thread, None
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    async def _run(self, job: Callable[[], T]) -> T:
        future: Future[T] = Future()
        self._jobs.put(lambda: _settle(future, job))
        return await asyncio.wrap_future(future)

    def _work(self) -> None:
        pause = self._sense.lease / 4
        due = time.monotonic() + pause
        while True:
            try:
                job = self._jobs.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                due = time.monotonic() + pause
                self._patient.alive()
                continue
            if job is None:
                break
            job()
        self._patient.leave()


def _settle(future: "Future[T]", job: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
        future.set_exception(error)
