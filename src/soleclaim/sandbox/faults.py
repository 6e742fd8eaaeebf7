"""Faults that a tester can switch on: ``POST``, ``GET`` and ``DELETE /_faults``.

The middleware holds the answer of the application in its hands, so every fault works on every route of
every stand-in: the work is calling the application, the fault is what happens around it.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from soleclaim.sandbox.fields import BadRequest, Row, integer, json_object, optional_text, text

CALL_FAULTS: Final = frozenset(
    {
        "slow",
        "timeout_before_work",
        "timeout_after_work",
        "late_work",
        "error_500",
        "html_200",
        "truncated_json",
        "cut_connection",
        "others_answer",
    }
)
LIST_FAULTS: Final = frozenset({"duplicate_rows", "lost_rows", "clamped_pages"})
SKEWED_CLOCK: Final = "skewed_clock"
"""The stand-in's clock is ``delay_s`` ahead, for the signature of one request; nothing where nobody signs."""
FILE_FAULTS: Final = frozenset(
    {"half_file", "late_file", "doubled_file", "resent_delivery", "lost_ack", "wrong_encoding"}
)
"""Of what is written into a folder; ``path`` is then ``/`` and the beginning of a table's or an order file's name."""
FAULTS: Final = CALL_FAULTS | LIST_FAULTS | FILE_FAULTS | {SKEWED_CLOCK}
CLAMPED_PAGE_SIZE: Final = 2
DEFAULT_DELAY_S: Final = 0.2

_EXEMPT_PATHS: Final = frozenset({"/health", "/_faults"})
_LOGIN_PAGE: Final = b"<!doctype html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"


@dataclass(slots=True)
class Fault:
    """One fault that is switched on. ``remaining`` counts down; -1 stays until cleared."""

    name: str
    path: str
    remaining: int
    delay_s: float
    after_work: bool
    method: str = ""
    """Only calls with this HTTP method; all when empty."""
    hits: int = 0

    def as_json(self) -> dict[str, object]:
        """What ``GET /_faults`` shows."""
        return {
            "fault": self.name,
            "path": self.path,
            "remaining": self.remaining,
            "hits": self.hits,
            "delay_s": self.delay_s,
            "after_work": self.after_work,
            "method": self.method,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response held back until it is known what becomes of it."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def of(cls, status: int, content_type: bytes, body: bytes) -> "Answer":
        """A response with the headers it needs."""
        length = str(len(body)).encode()
        return cls(status, ((b"content-type", content_type), (b"content-length", length)), body)


class FaultBoard:
    """The faults that are on, and the late calls under way. Used on the event loop only."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._late: set[asyncio.Task[Answer]] = set()

    def add(self, fault: Fault) -> None:
        """Switch a fault on; earlier ones are used up first."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Switch all faults off; late calls under way still arrive."""
        self._faults.clear()

    def as_json(self) -> list[dict[str, object]]:
        """All faults, used up ones included, in the order they were switched on."""
        return [fault.as_json() for fault in self._faults]

    def take(self, path: str, names: frozenset[str], method: str = "") -> Fault | None:
        """Use up one hit of the first fault of ``names`` that applies to ``path`` and ``method``."""
        for fault in self._faults:
            applies = path.startswith(fault.path) and fault.method in ("", method)
            if applies and fault.name in names and fault.remaining != 0:
                fault.hits += 1
                fault.remaining -= fault.remaining > 0
                return fault
        return None

    def page_size(self, path: str, wanted: int, largest: int) -> int:
        """The page size really used: clamped in silence, as the real registries do."""
        if self.take(path, frozenset({"clamped_pages"})) is not None:
            largest = CLAMPED_PAGE_SIZE
        return min(wanted, largest)

    def listed(self, path: str, rows: Sequence[Row]) -> list[Row]:
        """The rows of a list as they are sent: one twice, or one lost, when a fault says so."""
        sent = list(rows)
        if self.take(path, frozenset({"duplicate_rows"})) is not None:
            sent = sent[:1] + sent
        if self.take(path, frozenset({"lost_rows"})) is not None:
            sent = sent[:-1]
        return sent

    def start_late(self, work: Coroutine[Any, Any, Answer]) -> None:
        """Let ``work`` run although nobody waits for it any more."""
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def close(self) -> None:
        """Drop the late calls: the program ends, as a real one would, without doing them."""
        for task in list(self._late):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class FaultMiddleware:
    """Carries out the faults of a board around the application."""

    def __init__(self, app: ASGIApp, board: FaultBoard) -> None:
        self._app = app
        self._board = board
        self._last: dict[tuple[str, str], Answer] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in _EXEMPT_PATHS:
            await self._app(scope, receive, send)
            return
        body = await _read_body(receive)
        fault = self._board.take(scope["path"], CALL_FAULTS, scope["method"])
        if fault is None:
            await _deliver(await self._work(scope, body), send)
        elif fault.name == "slow":
            await asyncio.sleep(fault.delay_s)
            await _deliver(await self._work(scope, body), send)
        elif fault.name == "late_work":
            self._board.start_late(self._work_late(fault.delay_s, scope, body))
            await _hang(receive)
        elif fault.name == "timeout_before_work":
            await _hang(receive)
        elif fault.name == "timeout_after_work":
            await self._work(scope, body)
            await _hang(receive)
        else:
            others = self._last.get((scope["method"], scope["path"]))
            answer = await self._work(scope, body) if fault.after_work else None
            await _spoil(fault.name, answer, others, send)

    async def _work(self, scope: Scope, body: bytes) -> Answer:
        """Call the application and keep its answer."""
        status = 500
        headers: tuple[tuple[bytes, bytes], ...] = ()
        parts: list[bytes] = []

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], tuple(message["headers"])
            else:
                parts.append(message.get("body", b""))

        await self._app(dict(scope), replay, keep)
        answer = Answer(status, headers, b"".join(parts))
        self._last[scope["method"], scope["path"]] = answer
        return answer

    async def _work_late(self, delay_s: float, scope: Scope, body: bytes) -> Answer:
        await asyncio.sleep(delay_s)
        return await self._work(scope, body)


async def _spoil(name: str, answer: Answer | None, others: Answer | None, send: Send) -> None:
    """Send something else than the application's answer (``None``: the work was not done)."""
    if name == "cut_connection":
        # A body shorter than announced makes the server drop the connection in mid-answer.
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
    elif name == "error_500":
        await _deliver(Answer.of(500, b"text/plain", b"Internal Server Error"), send)
    elif name == "html_200" or (name == "others_answer" and others is None):
        await _deliver(Answer.of(200, b"text/html; charset=utf-8", _LOGIN_PAGE), send)
    elif name == "others_answer" and others is not None:
        await _deliver(others, send)
    else:
        whole = answer.body if answer is not None else b'{"result": "acc'
        await _deliver(Answer.of(200, b"application/json", whole[: len(whole) // 2]), send)


async def _read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _hang(receive: Receive) -> None:
    """Answer nothing until the caller gives up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _deliver(answer: Answer, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
    await send({"type": "http.response.body", "body": answer.body})


def _fault_of(body: Row) -> Fault:
    name = text(body, "fault")
    if name not in FAULTS:
        raise BadRequest(f"fault must be one of {', '.join(sorted(FAULTS))}")
    times = integer(body, "times", least=-1) if "times" in body else 1
    delay_s = body.get("delay_s", DEFAULT_DELAY_S)
    if not isinstance(delay_s, int | float) or not 0 <= delay_s <= 3600:
        raise BadRequest("delay_s must be seconds from 0 to 3600")
    after_work = body.get("after_work", False)
    if not isinstance(after_work, bool):
        raise BadRequest("after_work must be true or false")
    path, method = optional_text(body, "path") or "/", optional_text(body, "method", "GET|POST") or ""
    return Fault(name=name, path=path, remaining=times, delay_s=float(delay_s), after_work=after_work, method=method)


def fault_route(board: FaultBoard) -> Route:
    """The switchboard, the same on every stand-in."""

    async def switch(request: Request) -> JSONResponse:
        if request.method == "POST":
            try:
                board.add(_fault_of(await json_object(request)))
            except BadRequest as error:
                return JSONResponse({"error": str(error)}, status_code=400)
        elif request.method == "DELETE":
            board.clear()
        return JSONResponse({"faults": board.as_json()})

    return Route("/_faults", switch, methods=["GET", "POST", "DELETE"])
