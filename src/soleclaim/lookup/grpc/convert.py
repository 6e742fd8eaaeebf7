"""Between the lookup's messages and its domain."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from google.protobuf.duration_pb2 import Duration

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import event_service_pb2 as event_pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.api.lookup.v1 import outcome_service_pb2 as outcome_pb2
from soleclaim.core.activity_id import ActivityId, activity_key, make_activity_id
from soleclaim.core.identity import Caller
from soleclaim.core.instants import to_instant, to_us
from soleclaim.core.outcome_id import OutcomeId, OutcomeIdError, outcome_name, parse_outcome_id
from soleclaim.core.period import Period
from soleclaim.core.serials import MAX_SERIAL, UnitBlock, first_overlap, total
from soleclaim.identity.record import Description
from soleclaim.identity.schemes import fault_of
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    WHOLE,
    Abortion,
    Activity,
    Commitment,
    CommittedIssuance,
    Event,
    Evidence,
    EvidenceKind,
    GrantRef,
    Lock,
    LockId,
    LockRequest,
    Outcome,
    OutcomeRecord,
    ProjectRegistration,
    Slice,
    Summary,
    Token,
)
from soleclaim.policy.bundle import Bundle, Declaration
from soleclaim.rpc.parse import Faults, to_interval, to_timestamp

MAX_UNITS: Final = 10**15
MAX_QUANTITY: Final = 10**18
MAX_INT64: Final = 2**63 - 1
MAX_BLOCKS: Final = 64
MAX_IDENTIFIERS: Final = 16
MAX_CAPACITY_KW: Final = 10**9
DEFAULT_TTL_US: Final = 600_000_000
MIN_TTL_US: Final = 1_000_000
MAX_TTL_US: Final = 3_600_000_000
LOCK_PREFIX: Final = "issuanceLocks/"

BASE_UNITS: Final = {
    types_pb2.BASE_UNIT_KWH: "kWh",
    types_pb2.BASE_UNIT_KGCO2E: "kgCO2e",
    types_pb2.BASE_UNIT_KGCE: "kgce",
}
BASE_UNIT_NUMBERS: Final = {text: number for number, text in BASE_UNITS.items()}


def parse_registry(field: str, registry: str, bundle: Bundle, faults: Faults) -> str:
    """A code of the policy bundle."""
    if registry not in bundle.registries:
        faults.code(field, registry)
        faults.add(field, f"is not a registry of policy bundle {bundle.version}; ListRegistries shows those that are")
    return registry


def parse_registration(
    message: activity_pb2.RegisterActivityRequest, bundle: Bundle, faults: Faults
) -> ProjectRegistration:
    """A project to register."""
    project = message.native_project
    registry = parse_registry("native_project.registry", project.registry, bundle, faults)
    native_project_id = faults.text("native_project.native_project_id", project.native_project_id, max_length=128)
    country = _parse_country(message.country, faults)
    activity_type = faults.code("activity_type", message.activity_type)
    if activity_type != activity_type.lower():
        faults.add("activity_type", "must be lower case, for example wind, solar, hydro")
    is_described = message.HasField("description")
    identifiers = parse_identifiers(message.identifiers, faults)
    if not identifiers and not is_described:
        faults.add(
            "identifiers",
            f"must hold 1 to {MAX_IDENTIFIERS} strong identifiers, or description must be given; without either a "
            "project cannot be told from its look-alikes",
        )
    display_name = faults.text("display_name", message.display_name, max_length=256)
    description = None
    if is_described:
        description = _parse_description(
            message.description, f"{registry}/{native_project_id}", display_name, activity_type, country, identifiers,
            faults,
        )  # fmt: skip
    return ProjectRegistration(
        registry=registry,
        native_project_id=native_project_id,
        country=country,
        activity_type=activity_type,
        display_name=display_name,
        time_zone=faults.text("time_zone", message.time_zone, max_length=64),
        identifiers=identifiers,
        description=description,
    )


def _parse_country(country: str, faults: Faults) -> str:
    if len(country) != 2 or not (country.isascii() and country.isalpha() and country.isupper()):
        faults.add("country", "must be two capital letters (ISO 3166-1 alpha-2)")
    return country


def parse_identifiers(
    messages: Sequence[types_pb2.Identifier], faults: Faults, *, at_most: int = MAX_IDENTIFIERS
) -> tuple[Identifier, ...]:
    """Strong identifiers, each of the shape of its scheme."""
    if len(messages) > at_most:
        faults.add("identifiers", f"holds {len(messages)} identifiers; at most {at_most} are allowed")
    identifiers = tuple((each.scheme, each.value) for each in messages[:at_most])
    for i, (scheme, value) in enumerate(identifiers):
        fault = fault_of(scheme, value)
        if fault:
            faults.add(f"identifiers[{i}]", fault)
    return identifiers


def parse_sought(message: activity_pb2.FindActivitiesRequest, faults: Faults) -> Description:
    """A plant to look for."""
    if message.activity_type:
        faults.code("activity_type", message.activity_type)
    description = _parse_description(
        message.description,
        "",
        faults.text("display_name", message.display_name, max_length=256, required=False),
        message.activity_type,
        _parse_country(message.country, faults),
        parse_identifiers(message.identifiers, faults),
        faults,
    )
    if not (description.name or description.name_local or description.identifiers):
        faults.add("display_name", "is empty, and so are name_local and identifiers; give one of them")
    return description


def _parse_description(
    message: activity_pb2.PlantDescription,
    plant_id: str,
    name: str,
    technology: str,
    country: str,
    identifiers: tuple[Identifier, ...],
    faults: Faults,
) -> Description:
    under = faults.prefixed("description.")
    capacity_kw = under.number("capacity_kw", message.capacity_kw, minimum=0, maximum=MAX_CAPACITY_KW)
    year = message.commissioning_year
    if year:
        under.number("commissioning_year", year, minimum=1800, maximum=2200)
    latitude = longitude = None
    if message.HasField("position"):
        latitude, longitude = message.position.latitude, message.position.longitude
        if not (math.isfinite(latitude) and math.isfinite(longitude)):
            under.add("position", "must be two numbers of degrees")
    return Description(
        id=plant_id,
        name=name,
        name_local=under.text("name_local", message.name_local, max_length=256, required=False),
        owner=under.text("owner", message.owner, max_length=512, required=False),
        owner_local=under.text("owner_local", message.owner_local, max_length=512, required=False),
        technology=technology,
        capacity_mw=capacity_kw / 1000 or None,
        latitude=latitude,
        longitude=longitude,
        commissioning_year=year or None,
        region=under.text("region", message.region, max_length=128, required=False),
        country=country,
        identifiers=identifiers,
    )


def parse_outcome(message: outcome_pb2.RecordOutcomeRequest, bundle: Bundle, faults: Faults) -> OutcomeRecord | None:
    """An outcome to record; ``None`` when it has faults."""
    registry = parse_registry("registry", message.registry, bundle, faults)
    activity_id = faults.activity("activity", message.activity)
    period = faults.period("period", message.HasField("period"), message.period)
    faults.enum("base_unit", message.base_unit, types_pb2.BaseUnit)
    quantity = faults.number("quantity", message.quantity, minimum=0, maximum=MAX_QUANTITY)
    if activity_id is None or period is None or message.base_unit not in BASE_UNITS:
        return None
    base_unit = BASE_UNITS[message.base_unit]
    return OutcomeRecord(registry, activity_id, activity_key(activity_id), period, base_unit, quantity)


def parse_outcome_key(message: outcome_pb2.GetOutcomeRequest, faults: Faults) -> OutcomeId | None:
    """Which outcome is asked for, by its name or by what the name is made of; ``None`` when it has faults."""
    if not message.name:
        activity_id = faults.activity("activity", message.activity)
        period = faults.period("period", message.HasField("period"), message.period)
        faults.enum("base_unit", message.base_unit, types_pb2.BaseUnit)
        if activity_id is None or period is None or message.base_unit not in BASE_UNITS:
            return None
        return OutcomeId(activity_id, BASE_UNITS[message.base_unit], period)
    if message.activity or message.HasField("period") or message.base_unit:
        faults.add("name", "names the outcome by itself; leave activity, period and base_unit out")
    try:
        wanted = parse_outcome_id(message.name)
    except OutcomeIdError as error:
        faults.add("name", str(error))
        return None
    if outcome_name(wanted) != message.name:
        faults.add("name", "must be activities/{activity_id}/outcomes/{outcome}, the id in capitals without spaces")
    return wanted


def outcome_position(outcome: Outcome) -> tuple[int, ...]:
    """The place of an outcome in the list of its activity's, for a page token."""
    record = outcome.record
    return BASE_UNIT_NUMBERS[record.base_unit], to_us(record.period.start), to_us(record.period.end)


def parse_outcome_position(field: str, token: str, query: str, faults: Faults) -> tuple[str, Period] | None:
    """The place that a page token names; ``None``: the first page, or a fault."""
    position = faults.page_position(field, token, query, 3)
    if position is None:
        return None
    base_unit, start_us, end_us = position
    try:
        return BASE_UNITS[base_unit], Period(to_instant(start_us), to_instant(end_us))  # type: ignore[index]  # a number
    except (KeyError, ValueError, OverflowError):
        faults.add(field, "is no page token; pass the next_page_token of the response before, unchanged")
        return None


def parse_lock_request(
    message: lock_pb2.AcquireIssuanceLockRequest, bundle: Bundle, faults: Faults
) -> LockRequest | None:
    """A lock to acquire; ``None`` when it has faults."""
    registry = parse_registry("registry", message.registry, bundle, faults)
    instrument = bundle.instruments.get(message.instrument)
    if instrument is None or instrument.registry != registry:
        issued = ", ".join(bundle.instruments_of(registry)) or "none"
        faults.add("instrument", f"is not issued by registry {registry[:32]}; its instruments: {issued}")
    activity_id = faults.activity("activity", message.activity)
    period = faults.period("period", message.HasField("period"), message.period)
    per_unit = instrument.base_units_per_unit if instrument else 1
    units = faults.number("units", message.units, minimum=1, maximum=MAX_UNITS)
    carried_in = faults.number("carried_in", message.carried_in, minimum=0, maximum=per_unit - 1)
    reference = faults.reference("reference", message.reference)
    if activity_id is None or period is None or instrument is None:
        return None
    declaration = message.declaration
    return LockRequest(
        registry,
        message.instrument,
        activity_id,
        activity_key(activity_id),
        period,
        _parse_slice(message.slice, faults) if message.HasField("slice") else WHOLE,
        units,
        carried_in,
        reference,
        Declaration(declaration.no_other_application, declaration.no_claim_after_transfer),
        _parse_ttl(message.ttl, faults) if message.HasField("ttl") else DEFAULT_TTL_US,
    )


def _parse_slice(message: types_pb2.Slice, faults: Faults) -> Slice:
    if not 0 <= message.start < message.end:
        faults.add("slice", "start must be 0 or more and less than end; a slice is half-open [start, end)")
    return Slice(message.start, message.end)


def _parse_ttl(message: Duration, faults: Faults) -> int:
    ttl_us = message.seconds * 1_000_000 + message.nanos // 1_000
    if not MIN_TTL_US <= ttl_us <= MAX_TTL_US:
        faults.add("ttl", "must lie between 1 second and 1 hour")
    return ttl_us


def parse_numbered_name(field: str, name: str, prefix: str, faults: Faults) -> int:
    """The number in a name such as ``issuanceLocks/{number}``."""
    digits = name.removeprefix(prefix)
    valid = len(digits) <= 19 and digits.isascii() and digits.isdecimal() and name != digits
    number = int(digits) if valid else 0
    if not 1 <= number <= MAX_INT64 or digits != str(number):
        faults.add(field, f"must be {prefix}{{number}}, as the lookup gave it")
    return number


def parse_lock_name(field: str, name: str, faults: Faults) -> LockId:
    """``issuanceLocks/{number}``."""
    return LockId(parse_numbered_name(field, name, LOCK_PREFIX, faults))


def parse_grant(
    message: lock_pb2.BeginIssuanceRequest
    | lock_pb2.CommitIssuanceRequest
    | lock_pb2.AbortIssuanceRequest
    | lock_pb2.ReleaseIssuanceLockRequest,
    caller: Caller,
    faults: Faults,
) -> GrantRef:
    """Which grant of the caller is to move on."""
    lock_id = parse_lock_name("name", message.name, faults)
    token = faults.number("fencing_token", message.fencing_token, minimum=1, maximum=MAX_INT64)
    return GrantRef(caller.code, lock_id, Token(token))


def parse_commitment(message: lock_pb2.CommitIssuanceRequest, caller: Caller, faults: Faults) -> Commitment:
    """A native issuance to commit."""
    grant = parse_grant(message, caller, faults)
    native_issuance_id = faults.text("native_issuance_id", message.native_issuance_id, max_length=128)
    return Commitment(grant, native_issuance_id, parse_blocks(message.blocks, faults, minimum=1))


def parse_blocks(messages: Sequence[types_pb2.UnitBlock], faults: Faults, *, minimum: int) -> tuple[UnitBlock, ...]:
    """Serial ranges, none sharing a serial, of as many units as a grant has at most."""
    if not minimum <= len(messages) <= MAX_BLOCKS:
        faults.add("blocks", f"must hold {minimum} to {MAX_BLOCKS} serial ranges")
    blocks = [
        block
        for i, each in enumerate(messages[:MAX_BLOCKS])
        if (block := _parse_block(f"blocks[{i}]", each, faults)) is not None
    ]
    overlap = first_overlap(blocks) if len(blocks) > 1 else None
    if overlap:
        last = min(each.end for each in overlap)
        faults.add("blocks", f"serials {overlap[1].start} to {last} of a series stand in two blocks")
    elif (units := total(blocks)) > MAX_UNITS:
        # Above int64 the store could not even compare it with the grant.
        faults.add("blocks", f"hold {units} units; a grant has at most {MAX_UNITS}")
    return tuple(blocks)


def _parse_block(field: str, message: types_pb2.UnitBlock, faults: Faults) -> UnitBlock | None:
    faults.text(f"{field}.series", message.series, max_length=128)
    if message.start > message.end:
        faults.add(field, "start must not be greater than end; serial ranges are inclusive")
    elif message.start < 0 or message.end > MAX_SERIAL:
        faults.add(field, f"serials must lie between 0 and {MAX_SERIAL}")
    elif message.series:
        return UnitBlock(message.series, message.start, message.end)
    return None


def parse_abortion(message: lock_pb2.AbortIssuanceRequest, caller: Caller, faults: Faults) -> Abortion:
    """A grant to abort, with evidence."""
    grant = parse_grant(message, caller, faults)
    kind = faults.enum("evidence.kind", message.evidence.kind, lock_pb2.AbsenceEvidenceKind)
    detail = faults.text("evidence.detail", message.evidence.detail, max_length=1024)
    known = kind in {each.value for each in EvidenceKind}
    return Abortion(grant, Evidence(EvidenceKind(kind) if known else EvidenceKind.NEVER_SENT, detail))


def activity_name(activity_id: ActivityId | None) -> str:
    """``activities/{activity_id}``; empty where there is none."""
    return "" if activity_id is None else f"activities/{activity_id}"


def to_activity(activity: Activity) -> activity_pb2.Activity:
    """On the wire."""
    return activity_pb2.Activity(
        name=f"activities/{activity.activity_id}",
        country=activity.country,
        activity_type=activity.activity_type,
        display_name=activity.display_name,
        time_zone=activity.time_zone,
        identifiers=[types_pb2.Identifier(scheme=scheme, value=value) for scheme, value in activity.identifiers],
        native_projects=[
            activity_pb2.NativeProjectRef(registry=registry, native_project_id=project)
            for registry, project in activity.native_projects
        ],
        create_time=to_timestamp(activity.create_time),
    )


def fill_summary(message: activity_pb2.Activity, summary: Summary, *, with_units: bool) -> None:
    """What FULL view adds. ``with_units``: whether the caller may see how much was issued."""
    message.wholes.extend(f"activities/{each}" for each in summary.wholes)
    message.parts.extend(f"activities/{each}" for each in summary.parts)
    message.aliases.extend(f"activities/{each}" for each in summary.aliases)
    message.measured_totals.extend(
        activity_pb2.MeasuredTotal(
            base_unit=BASE_UNIT_NUMBERS[each.base_unit],
            quantity=min(each.quantity, MAX_INT64),
            span=to_interval(each.span),
            outcome_count=each.counted,
            overlapping_count=each.overlapping,
        )
        for each in summary.measured
    )
    message.issued_totals.extend(
        activity_pb2.IssuedTotal(
            registry=each.registry,
            instrument=each.instrument,
            units=min(each.units, MAX_INT64) if with_units else None,
            span=to_interval(each.span),
        )
        for each in summary.issued
    )


def to_plant(description: Description) -> activity_pb2.PlantDescription:
    """What is known of a plant, on the wire."""
    message = activity_pb2.PlantDescription(
        name_local=description.name_local,
        owner=description.owner,
        owner_local=description.owner_local,
        capacity_kw=round((description.capacity_mw or 0) * 1000),
        commissioning_year=description.commissioning_year or 0,
        region=description.region,
    )
    if description.latitude is not None and description.longitude is not None:
        message.position.latitude, message.position.longitude = description.latitude, description.longitude
    return message


def to_outcome(outcome: Outcome) -> outcome_pb2.Outcome:
    """On the wire."""
    record = outcome.record
    return outcome_pb2.Outcome(
        name=outcome_name(OutcomeId(record.activity_id, record.base_unit, record.period)),
        activity=f"activities/{record.activity_id}",
        period=to_interval(record.period),
        base_unit=BASE_UNIT_NUMBERS[record.base_unit],
        quantity=record.quantity,
        registry=record.registry,
        update_time=to_timestamp(outcome.update_time),
    )


def to_lock(lock: Lock, issuances: Sequence[CommittedIssuance]) -> lock_pb2.IssuanceLock:
    """The whole lock on the wire."""
    message = lock_pb2.IssuanceLock()
    fill_changed_lock(message, lock)
    message.registry = lock.registry
    message.instrument = lock.instrument
    message.activity = f"activities/{make_activity_id(lock.country, lock.activity_key)}"
    message.period.CopyFrom(to_interval(lock.period))
    message.reference = lock.reference
    message.carried_in = lock.carried_in
    message.policy_bundle_hash = lock.policy_hash
    message.create_time.CopyFrom(to_timestamp(lock.create_time))
    message.issuances.extend(_to_issuance(each) for each in issuances)
    if lock.slice != WHOLE:
        message.slice.CopyFrom(types_pb2.Slice(start=lock.slice.start, end=lock.slice.end))
    return message


def fill_changed_lock(message: lock_pb2.IssuanceLock, lock: Lock) -> None:
    """What a mutation answers: the part of the lock that it may have changed."""
    message.name = f"{LOCK_PREFIX}{lock.lock_id}"
    message.state = lock.state  # type: ignore[assignment]  # the domain's numbers are the API's
    message.fencing_token = lock.token
    if lock.expire_time is not None:
        message.expire_time.CopyFrom(_to_timestamp_cached(lock.expire_time))
    message.units = lock.units
    if lock.supplement:
        message.supplement = True
    message.update_time.CopyFrom(_to_timestamp_cached(lock.update_time))


# The locks of a batch share their instants.
_to_timestamp_cached = lru_cache(maxsize=64)(to_timestamp)


def _to_issuance(issuance: CommittedIssuance) -> types_pb2.CommittedIssuance:
    return types_pb2.CommittedIssuance(
        native_issuance_id=issuance.native_issuance_id,
        reference=issuance.reference,
        units=issuance.units,
        blocks=[types_pb2.UnitBlock(series=each.series, start=each.start, end=each.end) for each in issuance.blocks],
        fencing_token=issuance.token,
        commit_time=to_timestamp(issuance.commit_time),
    )


def to_event(event: Event) -> event_pb2.WatchEventsResponse:
    """On the wire, with the cursor that resumes after it."""
    return event_pb2.WatchEventsResponse(
        cursor=f"{event.position}.{event.entry}",
        event=event_pb2.Event(
            entry=event.entry,
            kind=event.kind.value,  # type: ignore[arg-type]  # the domain's numbers are the API's
            activity=""
            if event.activity_key is None
            else f"activities/{make_activity_id(event.country, event.activity_key)}",
            registry=event.registry,
            issuance_lock="" if event.lock_id is None else f"{LOCK_PREFIX}{event.lock_id}",
            fencing_token=event.token,
            create_time=to_timestamp(event.create_time),
        ),
    )
