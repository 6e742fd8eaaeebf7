"""One call, with what can go wrong told in two kinds: refused, or unknown."""

from types import TracebackType
from typing import Final, Self, TypeVar

import grpc

from soleclaim.core.errors import REASONS
from soleclaim.core.identity import Caller
from soleclaim.rpc.channel import open_channel
from soleclaim.rpc.status import RemoteRefusal, from_call
from soleclaim.rpc.tls import TlsFiles

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

# The transport's own codes after which nobody can say whether the request took effect.
_UNKNOWN_CODES: Final = frozenset(
    {"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "CANCELLED", "DATA_LOSS", "RESOURCE_EXHAUSTED"}
)


class RemoteUnavailable(Exception):
    """No answer, or one that does not tell: whether a mutation took effect is *unknown*.

    Send it again with the same ``request_id``. ``refusal`` holds what the far side said, if it spoke.
    """

    def __init__(self, code: str, detail: str, *, refusal: RemoteRefusal | None = None) -> None:
        self.code = code
        """Name of the gRPC status code."""
        self.detail = detail
        self.refusal = refusal
        super().__init__(f"{code}: {detail}")


def translate(error: grpc.aio.AioRpcError) -> RemoteRefusal | RemoteUnavailable:
    """What a failed call means: a refusal is certain, all else is unknown."""
    refusal = from_call(error)
    if refusal.reason is not None and REASONS[refusal.reason].tells_nothing:
        return RemoteUnavailable(refusal.code, refusal.message_en, refusal=refusal)
    if refusal.reason is None and refusal.code in _UNKNOWN_CODES:
        return RemoteUnavailable(refusal.code, refusal.message_en)
    return refusal


class Client:
    """A channel to one server, used as an async context manager. Subclasses add the stubs."""

    def __init__(self, target: str, tls: TlsFiles | None, *, caller: Caller | None = None) -> None:
        """``caller`` is for plaintext on loopback only (``tls`` None). Raises ``TlsFault``."""
        self.target = target
        self._channel = open_channel(target, tls, caller=caller)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._channel.close()

    async def call(
        self,
        stub_method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        *,
        timeout_s: float | None = None,
    ) -> _Response:
        """Call a unary method of one of the stubs. Retried on UNAVAILABLE where that is safe.

        Raises ``RemoteRefusal`` when the server refused: nothing was changed. Raises ``RemoteUnavailable`` when
        it is unknown whether a mutation took effect. ``timeout_s`` None takes the channel's default.
        """
        try:
            return await stub_method(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error
