"""The lock on a session's log: one process writes it. The system lets go of it when that process ends, however it ends."""

import errno
import sys
import time

PATIENCE = 0.1
"""Seconds to try a lock that another has: who only asks whether a session runs holds it for a moment."""
PAUSE = 0.005
"""Seconds between two attempts."""
_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)


def hold(fd: int, *, shared: bool = False, patience: float = 0.0) -> bool:
    """Whether the open file `fd` is locked now, after trying for `patience` seconds: against every other process, or where
    `shared` against those that want it for themselves alone. Closing the file ends it. Raises `OSError` where the file system
    has no locks."""
    until = time.monotonic() + patience
    while not _try(fd, shared=shared):
        if time.monotonic() >= until:
            return False
        time.sleep(PAUSE)
    return True


def _try(fd: int, *, shared: bool) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt
            import os

            os.lseek(fd, 1 << 40, os.SEEK_SET)  # a byte far behind the end, so that others can still read the rest
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True
