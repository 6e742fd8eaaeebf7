"""A gRPC server with mutual TLS, health, reflection by flag, and an orderly stop."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from soleclaim.rpc.access import check_access
from soleclaim.rpc.interceptors import Gate
from soleclaim.rpc.limits import MAX_MESSAGE_BYTES, MIN_PING_INTERVAL_MS, MIN_REMAINING_S
from soleclaim.rpc.tls import TlsFiles, server_credentials

_HEALTH_SERVICE = "grpc.health.v1.Health"


class ServerFault(Exception):
    """The server cannot start; the message says why and what to do."""


class Service(NamedTuple):
    """A service to serve: its descriptor's full name, and how its servicer is added to a server."""

    full_name: str
    register: Callable[[grpc.aio.Server], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How to serve. ``port`` 0 takes a free one. Without ``tls``, ``plaintext_on_loopback`` must be set."""

    host: str
    port: int
    tls: TlsFiles | None
    plaintext_on_loopback: bool = False
    reflection: bool = False
    share_port: bool = False
    """Let several processes of one machine listen on the port; otherwise a second one fails to start."""
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_concurrent_rpcs: int = 1000
    """Calls under way at once, streams included; more are refused with TOO_MANY_CALLS."""
    min_remaining_s: float = MIN_REMAINING_S
    grace_s: float = 10
    """How long calls under way may take to finish when the server stops."""


class RpcServer:
    """One gRPC server. ``start`` once, ``stop`` once; healthy from the start unless ``set_healthy`` says otherwise."""

    def __init__(
        self, options: ServerOptions, services: Sequence[tuple[str, Callable[[grpc.aio.Server], None]]]
    ) -> None:
        self._options = options
        self._services = tuple(services)
        self._gate = Gate(
            plaintext=options.tls is None,
            max_calls=options.max_concurrent_rpcs,
            min_remaining_s=options.min_remaining_s,
        )
        self._health = health_aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Bind and serve; the bound port.

        Raises ``ServerFault`` (port in use, plaintext not allowed here), ``AccessFault`` (a method without a row),
        ``TlsFault`` (files not usable).
        """
        names = [full_name for full_name, _ in self._services]
        extra = [_HEALTH_SERVICE, *([reflection.SERVICE_NAME] if self._options.reflection else [])]
        check_access([*names, *extra])
        credentials = self._credentials()
        server = grpc.aio.server(
            interceptors=[self._gate],
            options=_transport_options(self._options),
            # The gate refuses first, with a reason; this bounds what may queue before it.
            maximum_concurrent_rpcs=2 * self._options.max_concurrent_rpcs,
        )
        for _, register in self._services:
            register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._options.reflection:
            reflection.enable_server_reflection([*names, *extra], server)
        port = self._bind(server, credentials)
        self._server = server
        await self.set_healthy(healthy=True)
        await server.start()
        return port

    async def set_healthy(self, healthy: bool) -> None:
        """What the health service says of the server and of each of its services."""
        states = health_pb2.HealthCheckResponse
        status = states.SERVING if healthy else states.NOT_SERVING
        for name in ("", *(full_name for full_name, _ in self._services)):
            await self._health.set(name, status)

    async def stop(self) -> None:
        """Health first, then streams end, then calls under way get their grace, then their clean-up is awaited.

        Whatever the handlers use (stores, channels) may be closed after this returns.
        """
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        self._gate.end_streams()
        await self._server.stop(self._options.grace_s)
        await self._gate.drained(self._options.grace_s)

    async def wait_for_termination(self) -> None:
        """Return when the server has stopped."""
        if self._server is not None:
            await self._server.wait_for_termination()

    def _credentials(self) -> grpc.ServerCredentials | None:
        options = self._options
        if options.tls is not None:
            return server_credentials(options.tls)
        if not options.plaintext_on_loopback:
            raise ServerFault("no TLS files are given; give them, or allow plaintext on loopback by its flag")
        if not _is_loopback(options.host):
            raise ServerFault(f"plaintext is allowed on loopback only, not on {options.host}; give TLS files")
        return None

    def _bind(self, server: grpc.aio.Server, credentials: grpc.ServerCredentials | None) -> int:
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        address = f"{host}:{self._options.port}"
        try:
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
        except RuntimeError:
            port = 0
        if port == 0:
            raise ServerFault(f"{address} cannot be bound; another process may use the port: end it or take another")
        return port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _transport_options(options: ServerOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(options.share_port)),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 0),
    ]
