"""Ends what massgen started if massgen cannot: even SIGKILL closes the pipe that the keeper reads.

A shell of 1 MB for a whole team, which knows the process groups of its servers. What it cannot reach: a program that
began a session of its own, anything on Windows (there a server's stdin ends, no more), and what starts in the
milliseconds between its birth and its entry here. If the keeper is killed too, servers' stdin still ends.
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process

_SCRIPT = """
trap '' HUP INT TERM
groups=
while read -r sign group; do
  rest=
  for each in $groups; do [ "$each" = "$group" ] || rest="$rest $each"; done
  groups=$rest
  [ "$sign" = + ] && groups="$groups $group"
done
[ -n "$groups" ] || exit 0
sleep 1
for each in $groups; do kill -s TERM -- "-$each"; done
sleep 1
for each in $groups; do kill -s KILL -- "-$each"; done
"""
"""Lines of `+ GROUP` and `- GROUP`. At the end: a second for those that end with their stdin, one more after SIGTERM."""


class Keeper:
    """Started at the first group it is told of."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """End it: at once, or if groups are left, after it has ended those. Harmless when called twice."""
        process, self._process = self._process, None
        if process and process.stdin:
            process.stdin.close()
            await process.wait()

    async def add(self, group: int) -> None:
        """Have `group` ended with massgen."""
        if sys.platform == "win32":
            return
        async with self._lock:
            if self._process is None:
                self._process = await asyncio.create_subprocess_exec(
                    *("/bin/sh", "-c", _SCRIPT),
                    stdin=PIPE,
                    stdout=DEVNULL,
                    stderr=DEVNULL,
                    start_new_session=True,
                    cwd="/",
                    env={"PATH": "/usr/bin:/bin"},
                )
        self._tell("+", group)

    def remove(self, group: int) -> None:
        """It has ended; its number may soon be another's."""
        self._tell("-", group)

    def _tell(self, sign: str, group: int) -> None:
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(f"{sign} {group}\n".encode())
