"""Real ``soleclaim`` processes that a test kills, stops and lets go on."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

START_S: Final = 40.0
_LISTENING: Final = re.compile(r"^listening on (?:http://)?(\S+:\d+)\s*$", re.MULTILINE)


class ProcessFailed(Exception):
    """A process did not start, or ended by itself; the message holds the end of its log."""


@dataclass
class Process:
    """One process. ``address`` is where it said it listens."""

    pid: int
    log: Path
    offset: int
    """Where its part of the log begins: those before it wrote there too."""
    address: str = ""
    code: int | None = None
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when SIGSTOP has taken effect."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def written(self) -> str:
        """What it wrote so far."""
        with self.log.open("rb") as log:
            log.seek(self.offset)
            return log.read().decode(errors="replace")

    def tail(self) -> str:
        """The last lines of what it wrote."""
        return "\n".join(self.written().splitlines()[-15:])

    async def until_written(self, pattern: re.Pattern[str], limit_s: float = START_S) -> re.Match[str]:
        """Wait until it writes that; ``ProcessFailed`` when it ends before, or takes too long."""
        end = asyncio.get_running_loop().time() + limit_s
        while (found := pattern.search(self.written())) is None:
            if self.ended.is_set() or asyncio.get_running_loop().time() > end:
                raise ProcessFailed(
                    f"{self.log.name}: {self.code}, no {pattern.pattern!r} in {limit_s} s\n{self.tail()}"
                )
            await asyncio.sleep(0.02)
        return found

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its process group; nothing happens when it has ended."""
        if not self.ended.is_set():
            if number is signal.SIGCONT:
                self.stopped.clear()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def kill(self) -> None:
        """End it at once."""
        self.send(signal.SIGKILL)
        await asyncio.wait_for(self.ended.wait(), START_S)


class Processes:
    """Starts processes from a template, so that each costs a third of what a new interpreter would."""

    def __init__(self, template: asyncio.subprocess.Process) -> None:
        self._template = template
        self._by_pid: dict[int, Process] = {}
        self._starting: deque[tuple[asyncio.Future[Process], Path, int]] = deque()
        self.used_s: list[tuple[str, float]] = []
        """Processor seconds of every process that has ended, by the name of its log."""

    async def start(self, *arguments: str, log: Path, failpoint: str = "") -> Process:
        """Start ``soleclaim`` with these arguments, and wait until it listens."""
        stdin = self._template.stdin
        if stdin is None or self._template.returncode is not None:
            raise ProcessFailed("the template has ended")
        offset = _size(log)
        command = {"arguments": arguments, "failpoint": failpoint, "log": str(log)}
        started: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._starting.append((started, log, offset))
        stdin.write(json.dumps(command).encode() + b"\n")
        process = await asyncio.wait_for(started, START_S)
        process.address = (await process.until_written(_LISTENING))[1]
        return process

    async def listen(self) -> None:
        """Read the template's events until it ends."""
        stdout = self._template.stdout
        while stdout is not None and (line := await stdout.readline()):
            event, pid, *code = line.decode().split()
            if event == "started":
                # Known from here on, so that its next event finds it.
                answer, log, offset = self._starting.popleft()
                self._by_pid[int(pid)] = Process(int(pid), log, offset)
                answer.set_result(self._by_pid[int(pid)])
                continue
            process = self._by_pid[int(pid)]
            if event == "stopped":
                process.stopped.set()
            else:
                process.code = int(code[0])
                self.used_s.append((process.log.stem, float(code[1])))
                process.stopped.clear()
                process.ended.set()
                del self._by_pid[process.pid]

    def running(self) -> list[Process]:
        """All that have not ended."""
        return list(self._by_pid.values())

    async def kill_all(self) -> None:
        """End whatever still runs."""
        await asyncio.gather(*(each.kill() for each in self.running()))


def _size(log: Path) -> int:
    log.touch()
    return log.stat().st_size


@contextlib.asynccontextmanager
async def processes() -> AsyncIterator[Processes]:
    """A template to start processes from; at the end none of them is left."""
    template = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("template.py")),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    started = Processes(template)
    listening = asyncio.create_task(started.listen())
    try:
        yield started
        await started.kill_all()
    finally:
        # The template kills its children when its stdin ends, and the system kills them when it dies.
        if template.stdin is not None:
            template.stdin.close()
        try:
            await asyncio.wait_for(template.wait(), 10)
        except TimeoutError:
            template.kill()
            await template.wait()
        await listening
