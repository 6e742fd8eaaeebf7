"""What a server call hands on to the calls made on its behalf: its trace id and the time it has left."""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

TRACE_ID_KEY: Final = "soleclaim-trace-id"
"""Metadata key of the trace id, both ways."""

CALLER_KEY: Final = "soleclaim-caller"
"""Metadata key of the caller in plaintext mode: ``registry/gec``."""

_TRACE_ID: Final = re.compile(r"[A-Za-z0-9-]{8,64}")
_trace_id: ContextVar[str] = ContextVar("soleclaim_trace_id", default="")
_deadline: ContextVar[float | None] = ContextVar("soleclaim_deadline", default=None)


def enter(trace_id: str, remaining_s: float | None) -> None:
    """Note the current server call. Each call runs in a task of its own, so nothing needs to be undone."""
    _trace_id.set(trace_id)
    _deadline.set(None if remaining_s is None else time.monotonic() + remaining_s)


def trace_id() -> str:
    """Trace id of the current server call; empty outside one."""
    return _trace_id.get()


def accepted_trace_id(offered: str | None) -> str:
    """The caller's trace id when it has the right shape, else a new one."""
    if offered and _TRACE_ID.fullmatch(offered):
        return offered
    return secrets.token_hex(16)


def remaining_s() -> float | None:
    """Seconds the current server call has left; ``None`` when there is no call or it has no deadline."""
    deadline = _deadline.get()
    return None if deadline is None else deadline - time.monotonic()


@contextmanager
def unbound() -> Iterator[None]:
    """Free what is started inside from the caller's deadline.

    For owned tasks that outlive the call (an issuance past its point of no return): a task created inside this
    block keeps the trace id, and its own calls get the channel's default deadline.
    """
    token = _deadline.set(None)
    try:
        yield
    finally:
        _deadline.reset(token)
