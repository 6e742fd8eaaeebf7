"""A template process: imports ``soleclaim`` once, and forks each process from there.

The children are whole processes of their own (session, signals, exit code) that run the real command line; all that is
shared is the work of importing. That is fit for forking as long as nothing was started yet: no thread, no event loop,
no grpc object; the template makes sure that it has one thread only.

Commands come in as JSON lines on stdin: ``{"arguments", "failpoint", "log"}``. Events go out as lines on stdout:
``started PID``, ``stopped PID``, ``ended PID CODE PROCESSOR_SECONDS``. When stdin ends, all children are killed.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
from typing import Any, Final, NoReturn

from soleclaim.cmd.main import main as soleclaim
from soleclaim.core import failpoint

PRELOADED: Final = (
    "soleclaim.client", "soleclaim.cmd.adapter", "soleclaim.cmd.lookup", "soleclaim.cmd.main", "soleclaim.cmd.sandbox",
    "soleclaim.lookup.grpc.server", "soleclaim.lookup.store", "soleclaim.natives", "soleclaim.registry.config",
    "soleclaim.registry.grpc.lookup_gateway", "soleclaim.registry.grpc.peers", "soleclaim.registry.grpc.service",
    "soleclaim.registry.recovery", "soleclaim.registry.sql_journal", "soleclaim.rpc.server",
    "soleclaim.sandbox.server", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.aiosqlite",
    "uvicorn.lifespan.on", "uvicorn.loops.asyncio", "uvicorn.protocols.http.h11_impl",
)  # fmt: skip
PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Serve until stdin ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) != 1:
        raise RuntimeError("an import started a thread: processes can no longer be forked from here")
    gc.freeze()
    readable, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: set[int] = set()
    pending = b""
    try:
        while True:
            ready, _, _ = select.select([0, readable], [], [])
            if readable in ready:
                os.read(readable, 4096)
                _tell_of_children(children)
            if 0 in ready:
                part = os.read(0, 65_536)
                if not part:
                    return
                *lines, pending = (pending + part).split(b"\n")
                for line in lines:
                    pid = os.fork()
                    if pid == 0:
                        _become(json.loads(line), readable, woken)
                    children.add(pid)
                    _tell(f"started {pid}")
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _tell(event: str) -> None:
    os.write(1, f"{event}\n".encode())


def _tell_of_children(children: set[int]) -> None:
    while children:
        pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            _tell(f"stopped {pid}")
        else:
            children.discard(pid)
            _tell(f"ended {pid} {os.waitstatus_to_exitcode(status)} {usage.ru_utime + usage.ru_stime:.2f}")


def _become(command: dict[str, Any], *inherited: int) -> NoReturn:
    """Turn the forked child into the ``soleclaim`` command."""
    code = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in inherited:
            os.close(each)
        log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        # The module reads its environment when it is imported, which happened in the template.
        failpoint._action, _, point = command["failpoint"].partition(":")
        failpoint._pending = {point} if point else set()
        sys.argv = ["soleclaim", *command["arguments"]]
        soleclaim()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  whatever it is belongs into the child's log, not into the template
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
