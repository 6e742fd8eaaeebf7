"""Starting the parts as processes of their own, watching them, ending them in order."""

import asyncio
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

SOLECLAIM: Final = (sys.executable, "-m", "soleclaim.cmd.main")
"""The command line of this very installation."""
START_LIMIT_S: Final = 60.0
STOP_LIMIT_S: Final = 15.0
TAIL_LINES: Final = 15

_LISTENING: Final = re.compile(r"^listening on (?:http://)?(\S+:\d+)\s*$", re.MULTILINE)


class ProcessFailed(Exception):
    """A part did not start or ended by itself; the message holds the end of its log."""


class Part:
    """One process of ``command``. Its output goes to a log file; ``address`` is where it said it listens."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self.address = ""
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None

    async def spawn(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Start, and do not wait until it listens."""
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                # Ctrl-C reaches the caller alone, which then ends its parts in order.
                start_new_session=True,
            )

    async def start(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Start and wait until it listens; ``ProcessFailed`` when it does not."""
        offset = self.log.stat().st_size if self.log.exists() else 0
        await self.spawn(environment=environment)
        deadline = asyncio.get_running_loop().time() + START_LIMIT_S
        while True:
            found = _LISTENING.search(self._written(offset))
            if found:
                self.address = found[1]
                return
            if self.ended is not None:
                raise ProcessFailed(f"{self.name} did not start ({self.ended}):\n{self.tail()}")
            if asyncio.get_running_loop().time() > deadline:
                raise ProcessFailed(f"{self.name} did not start within {START_LIMIT_S:.0f} s:\n{self.tail()}")
            await asyncio.sleep(0.03)

    @property
    def ended(self) -> str | None:
        """How the process ended; ``None`` while it runs."""
        code = self._process.returncode if self._process else None
        if code is None:
            return None
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    async def wait(self, limit_s: float) -> str:
        """Wait until it has ended; how it ended. ``TimeoutError`` when it still runs then."""
        if self._process is None:
            return "not started"
        await asyncio.wait_for(self._process.wait(), limit_s)
        return self.ended or ""

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL when that takes too long. Nothing happens when it has ended."""
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_LIMIT_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def kill(self) -> None:
        """End it at once, and what it started; it has no time to put anything in order."""
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._written(0).splitlines()[-TAIL_LINES:])

    def has_errors(self) -> bool:
        """Whether its log tells of an error."""
        return bool(re.search(r"\b(?:ERROR|CRITICAL)\b|^Traceback", self._written(0), re.MULTILINE))

    def _written(self, offset: int) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(offset)
                return log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""


def free_port() -> int:
    """A port below those that the system gives away by itself, so that a restarted process finds it free again."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
