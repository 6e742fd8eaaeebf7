"""Which roles may call which method: the one table (design section 8).

A row opens the method to a role; what a registry may see or change within it, the service decides.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from soleclaim.api.lookup.v1 import (
    activity_service_pb2,
    coverage_service_pb2,
    dispute_service_pb2,
    event_service_pb2,
    history_service_pb2,
    issuance_lock_service_pb2,
    outcome_service_pb2,
    registry_directory_service_pb2,
    review_service_pb2,
    settlement_service_pb2,
)
from soleclaim.api.registry.v1 import registry_service_pb2
from soleclaim.core.identity import Role

API_FILES: Final = (
    activity_service_pb2.DESCRIPTOR,
    coverage_service_pb2.DESCRIPTOR,
    dispute_service_pb2.DESCRIPTOR,
    event_service_pb2.DESCRIPTOR,
    history_service_pb2.DESCRIPTOR,
    issuance_lock_service_pb2.DESCRIPTOR,
    outcome_service_pb2.DESCRIPTOR,
    registry_directory_service_pb2.DESCRIPTOR,
    review_service_pb2.DESCRIPTOR,
    settlement_service_pb2.DESCRIPTOR,
    registry_service_pb2.DESCRIPTOR,
)
"""Every file of the API that has services; importing it makes the descriptors known."""

_EVERYBODY: Final = frozenset(Role)
_REGISTRY: Final = frozenset({Role.REGISTRY})
_OPERATOR: Final = frozenset({Role.OPERATOR})
_OVERSIGHT: Final = frozenset({Role.OPERATOR, Role.REGULATOR})
# The services narrow this: a registry acts for itself and requests only of its own adapter, an operator of any.
_ISSUER: Final = frozenset({Role.REGISTRY, Role.OPERATOR})

_TABLE: Final[Mapping[str, Mapping[str, frozenset[Role]]]] = {
    "soleclaim.api.lookup.v1.ActivityService": {
        "RegisterActivity": _REGISTRY,
        "BatchRegisterActivities": _REGISTRY,
        "GetActivity": _EVERYBODY,
        "ResolveActivity": _EVERYBODY,
        "ListActivities": _EVERYBODY,
        "FindActivities": _EVERYBODY,
    },
    "soleclaim.api.lookup.v1.CoverageService": {
        "RecordCoverage": _REGISTRY,
        "BatchRecordCoverage": _REGISTRY,
        "GetCoverage": _EVERYBODY,
        "ListCoverage": _EVERYBODY,
    },
    "soleclaim.api.lookup.v1.DisputeService": {
        "ListDisputes": _EVERYBODY,
        "GetDispute": _EVERYBODY,
        "SettleDispute": _OPERATOR,
        "ReopenDispute": _OPERATOR,
    },
    "soleclaim.api.lookup.v1.EventService": {
        "WatchEvents": _EVERYBODY,
    },
    "soleclaim.api.lookup.v1.HistoryService": {
        "ImportIssuance": _ISSUER,
        "BatchImportIssuances": _ISSUER,
    },
    "soleclaim.api.lookup.v1.IssuanceLockService": {
        "AcquireIssuanceLock": _REGISTRY,
        "BeginIssuance": _REGISTRY,
        "CommitIssuance": _REGISTRY,
        "AbortIssuance": _REGISTRY,
        "ReleaseIssuanceLock": _REGISTRY,
        "BatchAcquireIssuanceLocks": _REGISTRY,
        "BatchBeginIssuances": _REGISTRY,
        "BatchCommitIssuances": _REGISTRY,
        "BatchAbortIssuances": _REGISTRY,
        "BatchReleaseIssuanceLocks": _REGISTRY,
        "CheckIssuanceLock": _REGISTRY,
        "GetIssuanceLock": _EVERYBODY,
        "BatchGetIssuanceLocks": _EVERYBODY,
        "ListIssuanceLocks": _EVERYBODY,
    },
    "soleclaim.api.lookup.v1.OutcomeService": {
        "RecordOutcome": _REGISTRY,
        "BatchRecordOutcomes": _REGISTRY,
        "GetOutcome": _EVERYBODY,
        "ListOutcomes": _EVERYBODY,
    },
    "soleclaim.api.lookup.v1.RegistryDirectoryService": {
        "AnnounceRegistry": _REGISTRY,
        "GetRegistryEntry": _EVERYBODY,
        "ListRegistries": _EVERYBODY,
    },
    "soleclaim.api.lookup.v1.ReviewService": {
        "ListReviewCases": _EVERYBODY,
        "GetReviewCase": _EVERYBODY,
        "DecideReviewCase": _OPERATOR,
        "ConfirmReviewDecision": _OPERATOR,
        "ReopenReviewCase": _OPERATOR,
        "SplitActivity": _OPERATOR,
        "ConfirmActivitySplit": _OPERATOR,
        "ListActivitySplits": _OVERSIGHT,
    },
    "soleclaim.api.lookup.v1.SettlementService": {
        "RecordSettlement": _REGISTRY,
        "BatchRecordSettlements": _REGISTRY,
        "GetSettlement": _EVERYBODY,
        "ListSettlements": _EVERYBODY,
    },
    "soleclaim.api.registry.v1.RegistryService": {
        "GetRegistry": _EVERYBODY,
        "RequestIssuance": _ISSUER,
        "BatchRequestIssuances": _ISSUER,
        "CheckIssuance": _EVERYBODY,
        "GetIssuance": _EVERYBODY,
        "ListIssuances": _EVERYBODY,
        "FindIssuances": _EVERYBODY,
    },
    health_pb2.DESCRIPTOR.services_by_name["Health"].full_name: {
        "Check": _EVERYBODY,
        "List": _EVERYBODY,
        "Watch": _EVERYBODY,
    },
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name: {
        "ServerReflectionInfo": _OPERATOR,
    },
}

ACCESS: Final[Mapping[str, frozenset[Role]]] = {
    f"/{service}/{method}": roles for service, methods in _TABLE.items() for method, roles in methods.items()
}
"""Roles by full method name (``/package.Service/Method``)."""


class AccessFault(Exception):
    """The table and the served methods disagree; the server does not start."""


def methods_of(service: str) -> tuple[str, ...]:
    """Full names of a service's methods; ``AccessFault`` when no descriptor is known for it."""
    try:
        descriptor = descriptor_pool.Default().FindServiceByName(service)
    except KeyError as error:
        raise AccessFault(f"{service} is no known service; check its full name and import its module") from error
    return tuple(f"/{service}/{method.name}" for method in descriptor.methods)


def check_access(served: Iterable[str], table: Mapping[str, frozenset[Role]] = ACCESS) -> None:
    """Compare the table with the full names of the services to be served; ``AccessFault`` on a difference.

    A served method without a row would be closed to all, a row without a method is a misspelt one.
    """
    unlisted = [method for service in served for method in methods_of(service) if method not in table]
    if unlisted:
        raise AccessFault(f"no row in the access table for {', '.join(unlisted)}; add one in soleclaim.rpc.access")
    services = {method.split("/")[1] for method in table}
    unknown = set(table).difference(*(methods_of(service) for service in services))
    if unknown:
        raise AccessFault(f"the access table names no known method: {', '.join(sorted(unknown))}")
