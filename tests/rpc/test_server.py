"""What reaches a client, and what never does."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from soleclaim.api.lookup.v1 import event_service_pb2 as events
from soleclaim.api.lookup.v1 import event_service_pb2_grpc as events_grpc
from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory
from soleclaim.api.lookup.v1 import registry_directory_service_pb2_grpc as directory_grpc
from soleclaim.client import LookupClient, RemoteRefusal, RemoteUnavailable
from soleclaim.core.errors import REASONS, DomainError, FieldViolation, InvalidRequest, Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.caller import caller_of, require_registry
from soleclaim.rpc.calls import TRACE_ID_KEY, remaining_s, trace_id
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.interceptors import STOPPING
from soleclaim.rpc.limits import MAX_MESSAGE_BYTES
from soleclaim.rpc.server import ServerFault
from soleclaim.rpc.status import from_call
from soleclaim.rpc.tls import TlsFault, TlsFiles

if TYPE_CHECKING:
    from tests.rpc.conftest import Harness

DSN = "postgresql://soleclaim:hunter2@db/lookup"
LIST = directory.ListRegistriesRequest()
GEC = Caller(Role.REGISTRY, "gec")


def raising(error: BaseException) -> Callable[[Any, Any], Any]:
    async def answer(_request: Any, _context: Any) -> Any:
        raise error

    return answer


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


# Identity


async def test_the_handler_sees_the_caller_of_the_certificate(harness: "Harness") -> None:
    async def answer(_request: Any, context: Any) -> Any:
        return directory.ListRegistriesResponse(registries=[directory.Registry(name=str(caller_of(context)))])

    harness.directory.answer = answer
    _, port = await harness.serve()
    for caller in (GEC, Caller(Role.REGULATOR, "mee"), Caller(Role.OPERATOR, "lookup")):
        client = await harness.client(port, caller)
        # Over TLS what the metadata claims counts for nothing.
        claim = (("soleclaim-caller", "operator/root"),)
        response = await client.directory.ListRegistries(LIST, metadata=claim)
        assert response.registries[0].name == str(caller)


@pytest.mark.parametrize(
    "caller", [Caller(Role.REGISTRY, "ccer"), Caller(Role.OPERATOR, "gec"), Caller(Role.REGULATOR, "gec")]
)
def test_a_registry_acts_only_for_itself(caller: Caller) -> None:
    require_registry(GEC, "gec")
    with pytest.raises(DomainError) as caught:
        require_registry(caller, "gec")
    assert caught.value.reason is Reason.REGISTRY_NOT_YOURS


async def _handshake_fails(port: int, credentials: grpc.ChannelCredentials) -> None:
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        error = await refused(directory_grpc.RegistryDirectoryServiceStub(channel).ListRegistries(LIST, timeout=3))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def _credentials(files: TlsFiles, authority: Path) -> grpc.ChannelCredentials:
    # Without the checks that our own channels make first.
    return grpc.ssl_channel_credentials(authority.read_bytes(), files.key.read_bytes(), files.certificate.read_bytes())


async def test_no_certificate_no_connection(harness: "Harness") -> None:
    harness.directory.answer = raising(AssertionError("a handler was reached"))
    _, port = await harness.serve()
    authority = (harness.certificates / "authority.crt").read_bytes()
    await _handshake_fails(port, grpc.ssl_channel_credentials(authority))
    async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
        stub = directory_grpc.RegistryDirectoryServiceStub(channel)
        error = await refused(stub.ListRegistries(LIST, timeout=3, metadata=(("soleclaim-caller", "registry/gec"),)))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_certificates_of_another_authority_are_refused(harness: "Harness", tmp_path: Path) -> None:
    _, port = await harness.serve()
    make_authority(tmp_path)
    files = issue_certificate(tmp_path, GEC)
    await _handshake_fails(port, _credentials(files, harness.certificates / "authority.crt"))
    with pytest.raises(TlsFault, match="is not signed by"):
        LookupClient(
            f"localhost:{port}", TlsFiles(harness.certificates / "authority.crt", files.certificate, files.key)
        )


@pytest.mark.parametrize("days", [-3, 2])
async def test_certificates_not_in_force_are_refused(harness: "Harness", days: int) -> None:
    _, port = await harness.serve()
    caller = Caller(Role.REGISTRY, f"outdated{days}".replace("-", "_"))
    start = datetime.now(UTC) + timedelta(days=days)
    files = issue_certificate(harness.certificates, caller, valid_for=timedelta(days=1), not_before=start)
    await _handshake_fails(port, _credentials(files, files.authority))
    with pytest.raises(TlsFault, match="issue a new one or set the clock right"):
        LookupClient(f"localhost:{port}", files)


async def test_clients_refuse_a_server_of_another_authority(harness: "Harness", tmp_path: Path) -> None:
    _, port = await harness.serve()
    make_authority(tmp_path)
    client = await harness.stack.enter_async_context(
        LookupClient(f"localhost:{port}", issue_certificate(tmp_path, GEC))
    )
    with pytest.raises(RemoteUnavailable):
        await client.call(client.directory.ListRegistries, LIST, timeout_s=3)


async def test_a_certificate_without_identity_is_unauthenticated(
    harness: "Harness", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soleclaim.rpc.certs.parse_identity", lambda _: None)
    caller = Caller(Role.REGISTRY, "a.dotted.code")
    files = issue_certificate(harness.certificates, caller)
    _, port = await harness.serve()
    async with grpc.aio.secure_channel(f"localhost:{port}", _credentials(files, files.authority)) as channel:
        error = await refused(directory_grpc.RegistryDirectoryServiceStub(channel).ListRegistries(LIST))
    told = from_call(error)
    assert (told.reason, told.code) == (Reason.UNAUTHENTICATED, "UNAUTHENTICATED")


# Plaintext


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104  must be refused
async def test_plaintext_is_refused_off_loopback(harness: "Harness", host: str) -> None:
    with pytest.raises(ServerFault, match="on loopback only"):
        await harness.serve(host=host, tls=None, plaintext_on_loopback=True)


async def test_plaintext_needs_its_flag(harness: "Harness") -> None:
    with pytest.raises(ServerFault, match="by its flag"):
        await harness.serve(tls=None)


async def test_plaintext_callers_name_themselves(harness: "Harness") -> None:
    _, port = await harness.serve(tls=None, plaintext_on_loopback=True)
    for caller, reason in (
        (GEC, None),
        (Caller(Role.REGULATOR, "mee"), Reason.ROLE_NOT_ALLOWED),
        (None, Reason.UNAUTHENTICATED),
    ):
        async with LookupClient(f"127.0.0.1:{port}", None, caller=caller) as client:
            call = client.call(client.directory.AnnounceRegistry, directory.AnnounceRegistryRequest())
            if reason is None:
                await call
                continue
            with pytest.raises(RemoteRefusal) as caught:
                await call
            assert caught.value.reason is reason


# Errors


@pytest.mark.parametrize("reason", Reason)
async def test_every_refusal_reaches_the_client_whole(harness: "Harness", reason: Reason) -> None:
    variables: dict[str, Any] = {name: f"值-{name}" for name in _names(reason)}
    error = DomainError(reason, **variables)
    if reason is Reason.INVALID_REQUEST:
        error = InvalidRequest([FieldViolation("period.start_time", "missing"), FieldViolation("units", "is 0")])
    harness.directory.answer = raising(error)
    _, port = await harness.serve()
    channel = await harness.channel(port)
    raw = await refused(directory_grpc.RegistryDirectoryServiceStub(channel).ListRegistries(LIST, timeout=1.5))
    told = from_call(raw)
    assert raw.code().name == told.code == REASONS[reason].status
    assert told.reason is reason
    assert told.variables == error.variables
    assert (told.message_en, told.message_zh) == (error.message_en, error.message_zh)
    assert told.violations == (error.violations if isinstance(error, InvalidRequest) else ())
    assert len((raw.trailing_metadata() or {})[TRACE_ID_KEY]) == 32


def _names(reason: Reason) -> set[str]:
    class Collect(dict[str, str]):
        def __missing__(self, key: str) -> str:
            self[key] = ""
            return ""

    names, row = Collect(), REASONS[reason]
    for template in (row.message_en, row.message_zh, row.remedy_en, row.remedy_zh):
        template.format_map(names)
    return set(names)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(DSN),
        TimeoutError(DSN),
        KeyError(DSN),
        ExceptionGroup(DSN, [DomainError(Reason.STORE_BUSY)]),
        grpc.aio.UsageError(DSN),
        asyncio.CancelledError(DSN),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_uncaught_exceptions_reach_the_log_and_no_client(
    harness: "Harness", caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    harness.directory.answer = raising(error)
    _, port = await harness.serve()
    channel = await harness.channel(port)
    with caplog.at_level(logging.ERROR):
        raw = await refused(directory_grpc.RegistryDirectoryServiceStub(channel).ListRegistries(LIST))
    told = from_call(raw)
    assert (told.code, told.reason) == ("INTERNAL", Reason.INTERNAL)
    sent = f"{raw.details()}{raw.debug_error_string()}{raw.trailing_metadata()}{raw.initial_metadata()}"
    assert "hunter2" not in sent
    (record,) = caplog.records
    assert record.name == "soleclaim.rpc"
    assert told.variables["trace_id"] in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_an_answer_of_the_wrong_type_reaches_no_client(harness: "Harness") -> None:
    async def answer(_request: Any, _context: Any) -> Any:
        return DSN

    async def stream(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield DSN

    harness.directory.answer, harness.directory.stream = answer, stream
    _, port = await harness.serve()
    channel = await harness.channel(port)
    for call in (
        directory_grpc.RegistryDirectoryServiceStub(channel).ListRegistries(LIST),
        events_grpc.EventServiceStub(channel).WatchEvents(events.WatchEventsRequest()).read(),
    ):
        raw = await refused(call)
        assert from_call(raw).reason is Reason.INTERNAL
        assert (raw.details() or "").startswith("an internal error occurred")


async def test_a_cancelled_inner_task_is_an_error_and_not_silence(harness: "Harness") -> None:
    async def answer(_request: Any, _context: Any) -> Any:
        inner = asyncio.create_task(asyncio.sleep(60))
        asyncio.get_running_loop().call_later(0.01, inner.cancel)
        await inner

    harness.directory.answer = answer
    _, port = await harness.serve()
    channel = await harness.channel(port)
    raw = await refused(directory_grpc.RegistryDirectoryServiceStub(channel).ListRegistries(LIST, timeout=3))
    assert from_call(raw).reason is Reason.INTERNAL


async def test_bytes_that_are_no_message_are_an_invalid_request(harness: "Harness") -> None:
    _, port = await harness.serve()
    channel = await harness.channel(port)
    raw = await refused(
        channel.unary_unary("/soleclaim.api.lookup.v1.RegistryDirectoryService/AnnounceRegistry")(b"\xff\xff")
    )
    assert from_call(raw).reason is Reason.INVALID_REQUEST


# Streams


@pytest.mark.parametrize("error", [DomainError(Reason.STORE_BUSY), RuntimeError(DSN)], ids=["refusal", "bug"])
async def test_errors_amid_a_stream_come_after_what_was_sent(harness: "Harness", error: Exception) -> None:
    async def stream(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield events.WatchEventsResponse(cursor="1")
        raise error

    harness.directory.stream = stream
    _, port = await harness.serve()
    channel = await harness.channel(port)
    call = events_grpc.EventServiceStub(channel).WatchEvents(events.WatchEventsRequest())
    assert (await call.read()).cursor == "1"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert from_call(caught.value).reason is (error.reason if isinstance(error, DomainError) else Reason.INTERNAL)
    assert "hunter2" not in str(caught.value)


async def test_a_client_that_leaves_a_stream_ends_its_handler(
    harness: "Harness", caplog: pytest.LogCaptureFixture
) -> None:
    cleaned = asyncio.Event()

    async def stream(_request: Any, _context: Any) -> AsyncIterator[Any]:
        try:
            yield events.WatchEventsResponse(cursor="1")
            await asyncio.sleep(60)
        finally:
            cleaned.set()

    harness.directory.stream = stream
    server, port = await harness.serve()
    channel = await harness.channel(port)
    call = events_grpc.EventServiceStub(channel).WatchEvents(events.WatchEventsRequest())
    assert (await call.read()).cursor == "1"
    call.cancel()
    await asyncio.wait_for(cleaned.wait(), 3)
    assert await server._gate.drained(1)
    assert not caplog.records


async def test_a_client_that_cancels_or_runs_out_of_time_cancels_the_handler(
    harness: "Harness", caplog: pytest.LogCaptureFixture
) -> None:
    ends: asyncio.Queue[str] = asyncio.Queue()

    async def answer(_request: Any, _context: Any) -> Any:
        ends.put_nowait("entered")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ends.put_nowait("cancelled")
            raise

    harness.directory.answer = answer
    _, port = await harness.serve()
    channel = await harness.channel(port)
    stub = directory_grpc.RegistryDirectoryServiceStub(channel)
    await stub.GetRegistryEntry(directory.GetRegistryEntryRequest(), timeout=1).code()
    assert [await asyncio.wait_for(ends.get(), 3) for _ in range(2)] == ["entered", "cancelled"]
    call = stub.GetRegistryEntry(directory.GetRegistryEntryRequest())
    assert await asyncio.wait_for(ends.get(), 3) == "entered"
    call.cancel()
    assert await asyncio.wait_for(ends.get(), 3) == "cancelled"
    assert not caplog.records


# Limits


async def test_messages_over_the_limit_are_refused_both_ways(harness: "Harness") -> None:
    async def answer(_request: Any, _context: Any) -> Any:
        return directory.Registry(endpoint="x" * (MAX_MESSAGE_BYTES + 1))

    _, port = await harness.serve()
    channel = await harness.channel(port)
    stub = directory_grpc.RegistryDirectoryServiceStub(channel)
    large = directory.AnnounceRegistryRequest(endpoint="x" * (MAX_MESSAGE_BYTES - 1000))
    await stub.AnnounceRegistry(large)
    async with grpc.aio.secure_channel(
        f"localhost:{port}", _credentials(harness.certificate(GEC), harness.certificates / "authority.crt")
    ) as unlimited:
        large.endpoint += "x" * 1001
        error = await refused(directory_grpc.RegistryDirectoryServiceStub(unlimited).AnnounceRegistry(large))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    harness.directory.answer = answer
    error = await refused(stub.GetRegistryEntry(directory.GetRegistryEntryRequest()))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_beyond_the_limit_are_refused_and_health_is_not(harness: "Harness") -> None:
    release, entered = asyncio.Event(), asyncio.Semaphore(0)

    async def answer(_request: Any, _context: Any) -> Any:
        entered.release()
        await release.wait()
        return directory.Registry()

    harness.directory.answer = answer
    _, port = await harness.serve(max_concurrent_rpcs=2)
    channel = await harness.channel(port)
    stub = directory_grpc.RegistryDirectoryServiceStub(channel)
    waiting = [stub.GetRegistryEntry(directory.GetRegistryEntryRequest()) for _ in range(2)]
    for _ in waiting:
        await asyncio.wait_for(entered.acquire(), 10)
    raw = await refused(stub.GetRegistryEntry(directory.GetRegistryEntryRequest()))
    assert (from_call(raw).reason, from_call(raw).variables) == (Reason.TOO_MANY_CALLS, {"limit": "2"})
    await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    release.set()
    await asyncio.gather(*waiting)
    await stub.GetRegistryEntry(directory.GetRegistryEntryRequest())


async def test_calls_with_too_little_time_left_are_refused(harness: "Harness") -> None:
    harness.directory.answer = raising(AssertionError("a handler was reached"))
    _, port = await harness.serve(min_remaining_s=5)
    channel = await harness.channel(port)
    raw = await refused(directory_grpc.RegistryDirectoryServiceStub(channel).ListRegistries(LIST, timeout=3))
    told = from_call(raw)
    assert (told.code, told.reason) == ("DEADLINE_EXCEEDED", Reason.DEADLINE_TOO_SHORT)
    assert told.variables["needed_ms"] == "5000"


async def test_trace_ids_are_taken_from_the_caller_when_well_formed(harness: "Harness") -> None:
    seen = []

    async def answer(_request: Any, _context: Any) -> Any:
        seen.append((trace_id(), remaining_s()))
        return directory.Registry()

    harness.directory.answer = answer
    _, port = await harness.serve()
    channel = await harness.channel(port)
    stub = directory_grpc.RegistryDirectoryServiceStub(channel)
    for offered in ("0123456789abcdef", "bad id; drop"):
        call = stub.GetRegistryEntry(
            directory.GetRegistryEntryRequest(), timeout=5, metadata=((TRACE_ID_KEY, offered),)
        )
        await call
        answered = (await call.trailing_metadata())[TRACE_ID_KEY]
        noted, left_s = seen.pop()
        assert answered == noted
        assert (noted == offered) == (offered == "0123456789abcdef")
        assert left_s is not None
        assert 4 < left_s < 6


# Start and stop


async def test_a_port_in_use_stops_the_start_with_a_sentence(harness: "Harness") -> None:
    _, port = await harness.serve()
    with pytest.raises(ServerFault, match=f"127.0.0.1:{port} cannot be bound; another process may use the port"):
        await harness.serve(port=port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServerFault, match="cannot be bound"):
            await harness.serve(port=taken.getsockname()[1])


async def test_a_port_is_shared_by_flag_only(harness: "Harness") -> None:
    _, port = await harness.serve(share_port=True)
    assert (await harness.serve(port=port, share_port=True))[1] == port


async def test_stop_ends_idle_streams_at_once_and_lets_calls_finish(harness: "Harness") -> None:
    async def stream(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield events.WatchEventsResponse(cursor="1")
        await asyncio.sleep(60)

    entered = asyncio.Event()

    async def answer(_request: Any, _context: Any) -> Any:
        entered.set()
        await asyncio.sleep(0.5)
        return directory.Registry(name="finished")

    harness.directory.stream, harness.directory.answer = stream, answer
    server, port = await harness.serve(grace_s=20)
    channel = await harness.channel(port)
    watch = events_grpc.EventServiceStub(channel).WatchEvents(events.WatchEventsRequest())
    await watch.read()
    health = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    await health.read()
    call = directory_grpc.RegistryDirectoryServiceStub(channel).GetRegistryEntry(directory.GetRegistryEntryRequest())
    await entered.wait()
    started = time.monotonic()
    await server.stop()
    assert time.monotonic() - started < 15
    assert (await call).name == "finished"
    assert (await watch.code(), await watch.details()) == (grpc.StatusCode.UNAVAILABLE, STOPPING)
    assert await health.code() is grpc.StatusCode.UNAVAILABLE
    await server.wait_for_termination()


async def test_stop_awaits_the_clean_up_of_calls_that_outlast_the_grace(harness: "Harness") -> None:
    entered, cleaned = asyncio.Event(), asyncio.Event()

    async def answer(_request: Any, _context: Any) -> Any:
        entered.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)
            cleaned.set()

    harness.directory.answer = answer
    server, port = await harness.serve(grace_s=0.5)
    channel = await harness.channel(port)
    call = directory_grpc.RegistryDirectoryServiceStub(channel).GetRegistryEntry(directory.GetRegistryEntryRequest())
    await entered.wait()
    await server.stop()
    assert cleaned.is_set()
    assert await call.code() is not grpc.StatusCode.OK
