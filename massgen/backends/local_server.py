"""The process that serves the embedded model on loopback: started at first use, shared by a run, gone with it."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

from massgen.errors import BackendError, LocalModelError

CONTEXT = 4096
"""Tokens that one call may hold, prompt and reply."""
MAX_SLOTS = 4
"""Calls served at once; more would each be slower, and take more memory."""
START_SECONDS = 120
STOP_SECONDS = 5
DEATH_SECONDS = 0.5
"""How long after a broken connection the process may take to be seen dead."""
TAIL_BYTES = 2000

_OTHER = "Use another backend, or another model: massgen models list."


class LocalServer:
    """Serves the GGUF file `model` to up to `slots` calls at once. It is restarted once if it dies."""

    def __init__(
        self,
        model: Path,
        *,
        slots: int = 1,
        context: int = CONTEXT,
        threads: int | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self.model = model
        self.key = secrets.token_urlsafe(24)
        self._arguments = (model, min(slots, MAX_SLOTS), context, threads or max(1, _cores() - 1))
        self._start_seconds = start_seconds
        self.scores: dict[tuple[str, str], float] = {}
        """Question and candidate -> likelihood, which is the same for all agents."""
        self.scoring = asyncio.Lock()
        self._lock = asyncio.Lock()
        self._process: Process | None = None
        self._words: asyncio.Task[str] | None = None
        self._base_url = ""
        self._starts = 0
        self._failure: LocalModelError | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None while it does not run."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def base_url(self) -> str:
        """Where the model answers. Raises `LocalModelError` if it cannot be started, `BackendError` if it died twice."""
        async with self._lock:
            if self._failure:  # it would fail again, for every agent
                raise LocalModelError(self._failure.what, where=self._failure.where, fix=self._failure.fix)
            if self.pid is None:
                await self._start()
            return self._base_url

    async def cause_of_death(self) -> str:
        """How the process ended; empty if it runs."""
        if not self._process:
            return ""
        with suppress(TimeoutError):
            async with asyncio.timeout(DEATH_SECONDS):
                return _ending(await self._process.wait())
        return ""

    async def aclose(self) -> None:
        """Stop the process. Harmless when called twice."""
        async with self._lock:
            await self._stop()

    async def _start(self) -> None:
        await self._stop()
        self._starts += 1
        if self._starts > 2:
            raise BackendError("the local model's process died twice", where=str(self.model), fix=_OTHER)
        try:
            self._base_url = await self._spawn()
        except LocalModelError as error:
            self._failure = error
            raise
        except BaseException:  # cancelled: leave nothing behind
            self._starts -= 1
            await self._stop(patience=0)
            raise

    async def _spawn(self) -> str:
        child = Path(__file__).with_name("local_child.py")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", child, *map(str, self._arguments)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,  # Ctrl-C is for us, not for it
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )
        self._words = asyncio.create_task(_tail(self._process))
        try:
            async with asyncio.timeout(self._start_seconds):
                said = await _introduce(self._process, self.key)
        except TimeoutError:
            await self._stop(patience=0)
            raise self._error(f"it did not start within {self._start_seconds:g} s", _OTHER) from None
        match said:
            case {"base_url": str(base_url)}:
                return base_url
            case _:
                raise self._explained(said, *await self._stop())

    async def _stop(self, patience: float = STOP_SECONDS) -> tuple[int, str]:
        """End the process, whatever it is at; its exit code and last words."""
        process, words = self._process, self._words
        self._process = self._words = None
        if not process or not process.stdin or not words:
            return 0, ""
        process.stdin.close()
        try:
            async with asyncio.timeout(patience):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            with suppress(ProcessLookupError):
                process.kill()
        return await process.wait(), await words

    def _explained(self, said: Any, code: int, words: str) -> LocalModelError:
        match said:
            case {"missing": why} if "libgomp" in why:
                return self._error(f"the OpenMP library is missing ({why})", "Install it: apt-get install libgomp1")
            case {"missing": why}:
                return self._error(
                    f"its runtime cannot be loaded ({why})", 'Install it, in the checkout: pip install ".[local]"'
                )
            case {"failed": why}:
                fix = "The file may be damaged, no instruct model, or too large for the memory. Check it: massgen models pull."
                return self._error(f"the model file cannot be loaded ({why})", fix)
            case _ if code == -signal.SIGILL:
                return self._error(
                    "this CPU lacks AVX2, FMA, F16C or BMI2, which its runtime needs", "Use another backend."
                )
            case _:
                return self._error(f"it {_ending(code)} at its start: {words or 'it said nothing'}", _OTHER)

    def _error(self, why: str, fix: str) -> LocalModelError:
        return LocalModelError(f"the local model does not run: {why}", where=str(self.model), fix=fix)


async def _introduce(process: Process, key: str) -> Any:
    """Hand over the access key; what the process says of itself, None if it died."""
    if not process.stdin or not process.stdout:
        return None
    with suppress(ConnectionError):
        process.stdin.write(f"{key}\n".encode())
        await process.stdin.drain()
    try:
        return json.loads(await process.stdout.readline())
    except ValueError:
        return None


async def _tail(process: Process) -> str:
    """The last words on its stderr, which must be read lest the process wait for us."""
    tail = b""
    while process.stderr and (block := await process.stderr.read(TAIL_BYTES)):
        tail = (tail + block)[-TAIL_BYTES:]
    return tail.decode(errors="replace").strip()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _cores() -> int:
    """Those this process may use, where the platform can tell."""
    affinity: Any = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
