"""Every role against every method of the table, over the wire."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.access import ACCESS, API_FILES, AccessFault, check_access
from soleclaim.rpc.server import Service
from soleclaim.rpc.status import from_call

if TYPE_CHECKING:
    from tests.rpc.conftest import Harness

CALLERS = {role: Caller(role, code) for role, code in zip(Role, ("gec", "mee", "lookup"), strict=True)}
STREAMS = {
    f"/{service.full_name}/{method.name}"
    for file in API_FILES
    for service in file.services_by_name.values()
    for method in service.methods
    if method.server_streaming
}
HEALTH, REFLECTION = "/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


async def _bytes(_request: Any, _context: Any) -> bytes:
    return b""


async def _no_bytes(_request: Any, _context: Any) -> AsyncIterator[bytes]:
    yield b""


def _stand_ins() -> list[Service]:
    """Every service of the API, answering nothing to everything."""

    def make(name: str, methods: list[str]) -> Service:
        handlers: dict[str, Any] = {
            method: grpc.unary_stream_rpc_method_handler(cast("Any", _no_bytes))  # the stubs know synchronous ones only
            if f"/{name}/{method}" in STREAMS
            else grpc.unary_unary_rpc_method_handler(_bytes)
            for method in methods
        }
        handler = grpc.method_handlers_generic_handler(name, handlers)
        return Service(name, lambda server: server.add_generic_rpc_handlers((handler,)))

    services = [service for file in API_FILES for service in file.services_by_name.values()]
    return [make(service.full_name, [method.name for method in service.methods]) for service in services]


async def _call(channel: Any, method: str, *, is_refused: bool = False) -> None:
    """Call, and read at most one answer. A stream that is refused may end before one can send to it."""
    if method in STREAMS or method == HEALTH + "Watch":
        async for _ in channel.unary_stream(method)(b""):
            return
    elif method == REFLECTION:
        request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
        async for _ in channel.stream_stream(method)(*([] if is_refused else [iter([request])])):
            return
    else:
        await channel.unary_unary(method)(b"")


async def test_every_role_reaches_exactly_the_methods_of_its_rows(harness: "Harness") -> None:
    _, port = await harness.serve(_stand_ins(), reflection=True)
    for role, caller in CALLERS.items():
        channel = await harness.channel(port, caller)
        for method, allowed in ACCESS.items():
            refused = None
            try:
                await _call(channel, method, is_refused=role not in allowed)
            except grpc.aio.AioRpcError as error:
                refused = from_call(error)
            if role in allowed:
                # The async health servicer of this release does not implement List.
                assert refused is None or method == HEALTH + "List", (role, method, refused)
            else:
                assert refused is not None, (role, method)
                assert refused.reason is Reason.ROLE_NOT_ALLOWED, (role, method, refused)
                assert refused.variables["allowed"] == ", ".join(sorted(each.value for each in allowed))


@pytest.mark.parametrize(
    ("method", "roles"),
    [
        ("lookup.v1.IssuanceLockService/BeginIssuance", {Role.REGISTRY}),
        ("lookup.v1.IssuanceLockService/BatchCommitIssuances", {Role.REGISTRY}),
        ("lookup.v1.IssuanceLockService/ListIssuanceLocks", set(Role)),
        ("lookup.v1.OutcomeService/ListOutcomes", set(Role)),
        ("lookup.v1.CoverageService/BatchRecordCoverage", {Role.REGISTRY}),
        ("lookup.v1.CoverageService/ListCoverage", set(Role)),
        ("lookup.v1.RegistryDirectoryService/AnnounceRegistry", {Role.REGISTRY}),
        ("lookup.v1.EventService/WatchEvents", set(Role)),
        ("lookup.v1.ReviewService/GetReviewCase", set(Role)),
        ("lookup.v1.ReviewService/DecideReviewCase", {Role.OPERATOR}),
        ("lookup.v1.ReviewService/ConfirmReviewDecision", {Role.OPERATOR}),
        ("lookup.v1.ReviewService/ReopenReviewCase", {Role.OPERATOR}),
        ("lookup.v1.ReviewService/SplitActivity", {Role.OPERATOR}),
        ("lookup.v1.ReviewService/ConfirmActivitySplit", {Role.OPERATOR}),
        ("lookup.v1.ReviewService/ListActivitySplits", {Role.OPERATOR, Role.REGULATOR}),
        ("registry.v1.RegistryService/RequestIssuance", {Role.REGISTRY, Role.OPERATOR}),
        ("registry.v1.RegistryService/CheckIssuance", set(Role)),
    ],
)
def test_rows_say_what_the_design_says(method: str, roles: set[Role]) -> None:
    assert ACCESS[f"/soleclaim.api.{method}"] == roles


_MUTATIONS = ("Register", "Record", "Acquire", "Begin", "Commit", "Abort", "Release", "Request")


def test_a_regulator_changes_nothing() -> None:
    assert not [
        method
        for method, roles in ACCESS.items()
        for name in (method.rsplit("/", 1)[1].removeprefix("Batch"),)
        if Role.REGULATOR in roles and name.startswith(_MUTATIONS)
    ]


def test_the_table_has_a_row_for_every_method_of_the_api() -> None:
    check_access(service.full_name for file in API_FILES for service in file.services_by_name.values())


def test_a_served_method_without_a_row_stops_the_start() -> None:
    name = "soleclaim.api.lookup.v1.OutcomeService"
    table = {method: roles for method, roles in ACCESS.items() if not method.endswith("/RecordOutcome")}
    with pytest.raises(AccessFault, match=f"no row in the access table for /{name}/RecordOutcome"):
        check_access([name], table)


def test_a_row_without_a_method_stops_the_start() -> None:
    for misspelt in ("/soleclaim.api.lookup.v1.OutcomeService/RecordOutcomes", "/soleclaim.api.lookup.v1.Nothing/Get"):
        with pytest.raises(AccessFault, match="no known"):
            check_access([], {**ACCESS, misspelt: frozenset(Role)})


async def test_a_server_with_an_unknown_service_does_not_start(harness: "Harness") -> None:
    with pytest.raises(AccessFault, match="no known service"):
        await harness.serve([Service("soleclaim.api.lookup.v9.Missing", lambda _: None)])


async def test_health_answers_any_certificate_per_service(harness: "Harness") -> None:
    server, port = await harness.serve()
    channel = await harness.channel(port, CALLERS[Role.REGULATOR])
    check = channel.unary_unary(
        HEALTH + "Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    name = directory.DESCRIPTOR.services_by_name["RegistryDirectoryService"].full_name
    for service in ("", name):
        assert (await check(health_pb2.HealthCheckRequest(service=service))).status == 1
    await server.set_healthy(healthy=False)
    assert (await check(health_pb2.HealthCheckRequest(service=name))).status == 2
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(health_pb2.HealthCheckRequest(service="other"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_is_served_by_flag_only(harness: "Harness") -> None:
    _, port = await harness.serve()
    channel = await harness.channel(port, CALLERS[Role.OPERATOR])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _call(channel, REFLECTION, is_refused=True)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
