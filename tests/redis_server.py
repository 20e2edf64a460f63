"""A redis-server of the tests' own: on a socket in a folder of its own, nothing on disk."""

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
PATIENCE = 10.0


class RedisServer:
    """Runs while the `with` block does, except between `stop` and `start`. What it held is gone with it."""

    def __init__(self, *options: str) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="redis"))
        self._options = options
        self.socket = self._home / "redis.sock"
        self.url = f"unix://{self.socket}"

    def start(self) -> None:
        assert PROGRAM, "redis-server is not installed; on Debian: apt-get install redis-server"
        keep_nothing = ("--save", "", "--appendonly", "no", "--daemonize", "no", "--port", "0")
        command = [PROGRAM, "--unixsocket", str(self.socket), "--dir", str(self._home), *keep_nothing, *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout
        said: list[str] = []
        while line := self._process.stdout.readline():
            said.append(line)
            if "ready to accept connections" in line.lower():
                return
        raise AssertionError(f"redis-server did not start:\n{''.join(said)}")

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self.socket.unlink(missing_ok=True)

    def command(self, *words: str) -> None:
        """Send one command whose answer does not matter."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.socket))
            connection.sendall(f"{' '.join(words)}\r\n".encode())
            connection.recv(1024)

    def ahead(self, prefix: str, seconds: int) -> None:
        """Let what is stored below `prefix` have been written `seconds` later than it was, as if the clock was set back."""
        script = (
            "local function later(key) for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do "
            "redis.call('ZINCRBY', key, ARGV[1], member) end end "
            "later(KEYS[2]) later(KEYS[3]) local account = cmsgpack.unpack(redis.call('GET', KEYS[1])) "
            "account.latest = account.latest + ARGV[1] redis.call('SET', KEYS[1], cmsgpack.pack(account))"
        )
        keys = (f"{prefix}{part}" for part in ("state", "minute", "owners"))
        self.command("EVAL", f'"{script}"', "3", *keys, str(seconds * 1_000_000))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._home)
