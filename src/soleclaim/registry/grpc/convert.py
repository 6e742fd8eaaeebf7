"""Between the wire and the domain of the registry side."""

import math
from datetime import UTC
from typing import Final

from google.rpc import status_pb2
from google.type.interval_pb2 import Interval

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.registry.domain import Declaration, Entry, IssuanceState, Refusal
from soleclaim.registry.native import PlantDescription
from soleclaim.registry.peers import FoundIssuance, PeerAnswer, Verdict
from soleclaim.rpc.parse import Faults, to_interval, to_timestamp
from soleclaim.rpc.status import RemoteRefusal, to_status

BASE_UNITS: Final = {
    "kWh": types_pb2.BASE_UNIT_KWH,
    "kgCO2e": types_pb2.BASE_UNIT_KGCO2E,
    "kgce": types_pb2.BASE_UNIT_KGCE,
}

STATES: Final = {
    IssuanceState.PENDING: pb.ISSUANCE_STATE_PENDING,
    IssuanceState.UNDER_REVIEW: pb.ISSUANCE_STATE_UNDER_REVIEW,
    IssuanceState.IN_DOUBT: pb.ISSUANCE_STATE_IN_DOUBT,
    IssuanceState.ISSUED: pb.ISSUANCE_STATE_ISSUED,
    IssuanceState.REFUSED: pb.ISSUANCE_STATE_REFUSED,
}
STATES_BACK: Final = {number: state for state, number in STATES.items()}

_MAX_CAPACITY_KW: Final = 10**9
_YEARS: Final = range(1800, 2201)

_VERDICTS: Final = {
    Verdict.ISSUED: pb.PEER_VERDICT_ISSUED,
    Verdict.CLEAR: pb.PEER_VERDICT_CLEAR,
    Verdict.UNKNOWN: pb.PEER_VERDICT_UNKNOWN,
}


def to_declaration(declaration: Declaration) -> types_pb2.Declaration:
    """A declaration on the wire."""
    return types_pb2.Declaration(
        no_other_application=declaration.no_other_application,
        no_claim_after_transfer=declaration.no_claim_after_transfer,
        document_uri=declaration.document_uri,
    )


def to_description(plant: PlantDescription) -> activity_pb.PlantDescription:
    """A description on the wire. What the lookup would refuse is left out: a project must not fail for it."""
    described = activity_pb.PlantDescription(
        name_local=_fit(plant.name_local, 256),
        owner=_fit(plant.owner, 512),
        owner_local=_fit(plant.owner_local, 512),
        capacity_kw=plant.capacity_kw if 0 <= plant.capacity_kw <= _MAX_CAPACITY_KW else 0,
        commissioning_year=plant.commissioning_year if plant.commissioning_year in _YEARS else 0,
        region=_fit(plant.region, 128),
    )
    if plant.position is not None and all(map(math.isfinite, plant.position)):
        described.position.latitude, described.position.longitude = plant.position
    return described


def _fit(text: str, max_length: int) -> str:
    faults = Faults()
    faults.text("", text, max_length=max_length, required=False)
    return "" if faults.any() else text


def to_issuance(entry: Entry, instrument: str) -> pb.Issuance:
    """A journal entry as the resource."""
    return pb.Issuance(
        name=f"issuances/{entry.issuance_id}",
        native_project_id=entry.native_project_id,
        period=to_interval(entry.period),
        units=entry.units,
        state=STATES[entry.state],
        activity=f"activities/{entry.activity}" if entry.activity else "",
        issuance_lock=entry.lock,
        fencing_token=entry.fencing_token,
        reference=entry.reference,
        native_issuance_id=entry.native_issuance_id,
        blocks=[types_pb2.UnitBlock(series=each.series, start=each.start, end=each.end) for each in entry.blocks],
        error=_error(entry),
        supplement=entry.supplement,
        create_time=to_timestamp(entry.create_time),
        update_time=to_timestamp(entry.update_time),
        instrument=instrument,
    )


def _error(entry: Entry) -> status_pb2.Status | None:
    """A final refusal, or what it waits for. Before the lookup has ended the lock, an entry is not refused."""
    if entry.refusal is None or entry.state not in (IssuanceState.REFUSED, IssuanceState.UNDER_REVIEW):
        return None
    return to_status(entry.refusal.error())


def to_found(found: FoundIssuance) -> pb.FoundIssuance:
    """What other registries may know."""
    return pb.FoundIssuance(
        registry=found.registry,
        instrument=found.instrument,
        period=to_interval(found.period),
        state=STATES[found.state],
    )


def to_peer_answer(answer: PeerAnswer) -> pb.PeerAnswer:
    """Another registry's answer."""
    return pb.PeerAnswer(
        registry=answer.registry,
        verdict=_VERDICTS[answer.verdict],
        issuances=[to_found(each) for each in answer.issuances],
    )


def from_interval(interval: Interval) -> Period:
    """A period that another server of ours sent."""
    start, end = interval.start_time, interval.end_time
    return Period(start.ToDatetime(tzinfo=UTC), end.ToDatetime(tzinfo=UTC))


def from_refusal(remote: RemoteRefusal) -> Refusal:
    """A refusal by the lookup, as ours. One whose reason or variables this release does not know keeps its text."""
    if remote.reason is not None:
        refusal = Refusal(remote.reason, tuple(remote.variables.items()))
        try:
            refusal.error()
        except KeyError:
            pass
        else:
            return refusal
    told = DomainError(Reason.POLICY_REFUSED, rules=remote.message_en or remote.code, bundle="unknown")
    return Refusal.from_error(told)
