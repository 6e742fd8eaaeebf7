"""Client channels: deadlines, retries, keepalive and trace ids, the same for every caller."""

import json
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc

from soleclaim.core.identity import Caller
from soleclaim.rpc import calls
from soleclaim.rpc.access import API_FILES
from soleclaim.rpc.limits import (
    DEADLINE_MARGIN_S,
    KEEPALIVE_TIME_MS,
    KEEPALIVE_TIMEOUT_MS,
    MAX_MESSAGE_BYTES,
    MAX_RECONNECT_MS,
    MIN_RECONNECT_MS,
)
from soleclaim.rpc.tls import TlsFiles, channel_credentials

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

DEFAULT_DEADLINE_S: Final = 10.0
"""Deadline of a unary call that sets none."""

_READS: Final = ("Get", "BatchGet", "List", "Find", "Resolve", "Check")


def retried_methods() -> tuple[tuple[str, str], ...]:
    """(service, method) of the calls that are safe to run again: reads, and those protected by a ``request_id``."""
    return tuple(
        (service.full_name, method.name)
        for file in API_FILES
        for service in file.services_by_name.values()
        for method in service.methods
        if not method.server_streaming
        and (method.name.startswith(_READS) or "request_id" in method.input_type.fields_by_name)
    )


def _service_config() -> str:
    return json.dumps(
        {
            "methodConfig": [
                {
                    "name": [{"service": service, "method": method} for service, method in retried_methods()],
                    "retryPolicy": {
                        "maxAttempts": 3,
                        "initialBackoff": "0.1s",
                        "maxBackoff": "1s",
                        "backoffMultiplier": 3,
                        "retryableStatusCodes": ["UNAVAILABLE"],
                    },
                }
            ],
            # When most calls fail, retries stop: a server in trouble is not asked three times over.
            "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
        }
    )


_OPTIONS: Final[list[tuple[str, int | str]]] = [
    ("grpc.service_config", _service_config()),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A call larger than its retry buffer is not retried; a full batch must be.
    ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
    # A new client connects at once, however long an older one to the same address still waits before it tries again.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", MIN_RECONNECT_MS),
    ("grpc.max_reconnect_backoff_ms", MAX_RECONNECT_MS),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
]


def open_channel(
    target: str,
    tls: TlsFiles | None,
    *,
    caller: Caller | None = None,
    default_deadline_s: float = DEFAULT_DEADLINE_S,
) -> grpc.aio.Channel:
    """A channel to ``host:port``. Connects on first use. Without ``tls``, ``caller`` is who one claims to be.

    A call without deadline gets ``default_deadline_s``, a stream none; inside a server call neither gets more
    than that call has left, less a margin. Raises ``TlsFault`` when the files cannot be used.
    """
    details = _Details(default_deadline_s, caller if tls is None else None)
    interceptors: list[grpc.aio.ClientInterceptor] = [_Unary(details), _Stream(details)]
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS, interceptors=interceptors)
    return grpc.aio.secure_channel(target, channel_credentials(tls), options=_OPTIONS, interceptors=interceptors)


class _Details:
    """Completes the details of a call: deadline, trace id and, in plaintext, the caller."""

    def __init__(self, default_deadline_s: float, caller: Caller | None) -> None:
        self._default_deadline_s = default_deadline_s
        self._caller = caller

    def complete(self, details: grpc.aio.ClientCallDetails, *, stream: bool) -> grpc.aio.ClientCallDetails:
        timeout_s = details.timeout
        if timeout_s is None and not stream:
            timeout_s = self._default_deadline_s
        left_s = calls.remaining_s()
        if left_s is not None:
            left_s = max(left_s - DEADLINE_MARGIN_S, 0.0)
            timeout_s = left_s if timeout_s is None else min(timeout_s, left_s)
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        if calls.trace_id() and metadata.get(calls.TRACE_ID_KEY) is None:
            metadata.add(calls.TRACE_ID_KEY, calls.trace_id())
        if self._caller is not None:
            metadata.add(calls.CALLER_KEY, str(self._caller))
        return grpc.aio.ClientCallDetails(
            details.method, timeout_s, metadata, details.credentials, details.wait_for_ready
        )


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    """One class per kind of call: grpc.aio sorts an interceptor into one kind only."""

    def __init__(self, details: _Details) -> None:
        self._details = details

    async def intercept_unary_unary(
        self,
        continuation: Callable[
            [grpc.aio.ClientCallDetails, _Request], Awaitable[grpc.aio.UnaryUnaryCall[_Request, _Response]]
        ],
        client_call_details: grpc.aio.ClientCallDetails,
        request: _Request,
    ) -> grpc.aio.UnaryUnaryCall[_Request, _Response]:
        return await continuation(self._details.complete(client_call_details, stream=False), request)


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, details: _Details) -> None:
        self._details = details

    async def intercept_unary_stream(
        self,
        continuation: Callable[
            [grpc.aio.ClientCallDetails, _Request], Awaitable[grpc.aio.UnaryStreamCall[_Request, _Response]]
        ],
        client_call_details: grpc.aio.ClientCallDetails,
        request: _Request,
    ) -> grpc.aio.UnaryStreamCall[_Request, _Response]:
        return await continuation(self._details.complete(client_call_details, stream=True), request)
