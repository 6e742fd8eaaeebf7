"""Who may speak to a stand-in that takes signed requests only."""

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse

from soleclaim.sandbox.faults import SKEWED_CLOCK, FaultBoard

ALGORITHM: Final = "HMAC-SHA256"
LONGEST_SKEW_S: Final = 300

Handler = Callable[[Request], Awaitable[JSONResponse]]


class Gate:
    """Lets signed requests in. Nonces are remembered for as long as a request with one could be taken twice.

    ``refusal`` shapes what is answered to others: code, message, Unix seconds of the server's clock.
    """

    def __init__(
        self, key_id: str, secret: bytes, board: FaultBoard, refusal: Callable[[str, str, int], JSONResponse]
    ) -> None:
        self._key_id = key_id
        self._secret = secret
        self._board = board
        self._refusal = refusal
        self._nonces: dict[str, float] = {}

    def guard(self, handler: Handler) -> Handler:
        """``handler`` for signed requests only."""

        async def guarded(request: Request) -> JSONResponse:
            now = time.time()
            if (fault := self._board.take(request.url.path, frozenset({SKEWED_CLOCK}))) is not None:
                now += fault.delay_s
            found = self._fault(request, await request.body(), now)
            return self._refusal(*found, int(now)) if found else await handler(request)

        return guarded

    def _fault(self, request: Request, body: bytes, now: float) -> tuple[str, str] | None:
        """Code and message; ``None`` when the request is let in. The signature comes before all that it signs."""
        key_id, at, nonce, signature = (
            request.headers.get(name, "") for name in ("x-key-id", "x-timestamp", "x-nonce", "x-signature")
        )
        if key_id != self._key_id:
            return "KEY_UNKNOWN", f"there is no key {key_id:.40}"
        path, query = (request.scope[name].decode("ascii") for name in ("raw_path", "query_string"))
        digest = hashlib.sha256(body).hexdigest()
        signed = "\n".join((ALGORITHM, key_id, request.method, path, query, digest, at, nonce))
        wanted = hmac.new(self._secret, signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted.encode(), signature.encode()):
            return "SIGNATURE_WRONG", "the signature is not that of this request by this key"
        if not (at.isascii() and at.isdigit()) or abs(now - int(at)) > LONGEST_SKEW_S:
            return "CLOCK_SKEW", f"signed at {at:.40}, more than {LONGEST_SKEW_S} s from now"
        return self._used(nonce, now)

    def _used(self, nonce: str, now: float) -> tuple[str, str] | None:
        self._nonces = {known: until for known, until in self._nonces.items() if until > now}
        if not nonce or nonce in self._nonces:
            return "NONCE_REPLAYED", "the nonce is empty or was used before"
        self._nonces[nonce] = now + 2 * LONGEST_SKEW_S
        return None
