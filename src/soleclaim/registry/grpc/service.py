"""``RegistryService``: the same for every registry."""

import re
from collections.abc import Sequence
from typing import Final

import grpc

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.api.registry.v1.registry_service_pb2_grpc import (
    RegistryServiceServicer,
    add_RegistryServiceServicer_to_server,
)
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.core.period import EARLIEST, LATEST, Period
from soleclaim.registry.desk import IssuanceDesk
from soleclaim.registry.domain import (
    MAX_BATCH,
    MAX_UNITS,
    Declaration,
    Entry,
    IssuanceId,
    IssuanceState,
    Order,
    Request,
)
from soleclaim.registry.dry_run import IssuanceCheck
from soleclaim.registry.grpc.convert import BASE_UNITS, STATES_BACK, to_found, to_issuance, to_peer_answer
from soleclaim.registry.lookup import LookupUnavailable
from soleclaim.registry.peers import FoundIssuance
from soleclaim.registry.workflow import Tools
from soleclaim.rpc.caller import Context, caller_of, require_registry
from soleclaim.rpc.calls import unbound
from soleclaim.rpc.pages import MAX_PAGE, page_size
from soleclaim.rpc.parse import Faults, encode_page_token, query_hash
from soleclaim.rpc.status import to_status

SERVICE: Final = pb.DESCRIPTOR.services_by_name["RegistryService"].full_name

_ISSUANCE_NAME: Final = re.compile(r"issuances/([1-9][0-9]{0,17})")
_NO_PERIOD: Final = Period(EARLIEST, LATEST)
"""Stands where a period is missing; the request is refused before it is used."""
_TELLING: Final = frozenset({IssuanceState.PENDING, IssuanceState.IN_DOUBT, IssuanceState.ISSUED})


class RegistryServicer(RegistryServiceServicer):
    """One registry's service. A registry calls only its own adapter, except ``GetRegistry`` and ``FindIssuances``."""

    def __init__(self, tools: Tools, desk: IssuanceDesk, check: IssuanceCheck) -> None:
        self._tools = tools
        self._desk = desk
        self._check = check

    def register(self, server: grpc.aio.Server) -> None:
        """Add this service to a server."""
        add_RegistryServiceServicer_to_server(self, server)

    async def GetRegistry(self, request: pb.GetRegistryRequest, context: Context) -> pb.RegistryInfo:
        """What this registry is and can do."""
        instrument = self._tools.instrument
        return pb.RegistryInfo(
            code=self._tools.registry,
            instruments=[
                pb.InstrumentInfo(
                    code=instrument.code,
                    base_unit=BASE_UNITS[instrument.base_unit],
                    base_units_per_unit=instrument.base_units_per_unit,
                )
            ]
            if self._tools.native.capabilities.issues
            else [],
            absence_proof=self._tools.native.capabilities.absence_proof.value,
            max_batch_size=MAX_BATCH,
            api_version="v1",
        )

    async def RequestIssuance(self, request: pb.RequestIssuanceRequest, context: Context) -> pb.Issuance:
        """One issuance; a refused one is an answer in state REFUSED, as in a batch."""
        caller = self._own(context)
        self._must_issue()
        faults = Faults()
        request_id = faults.request_id("request_id", request.request_id)
        order = _order(faults, request)
        faults.raise_if_any()
        (entry,) = await self._issue(caller, request_id, [order])
        return self._issuance(entry)

    async def BatchRequestIssuances(
        self, request: pb.BatchRequestIssuancesRequest, context: Context
    ) -> pb.BatchRequestIssuancesResponse:
        """Up to 1,000 issuances."""
        caller = self._own(context)
        self._must_issue()
        faults = Faults()
        request_id = faults.request_id("request_id", request.request_id)
        faults.number("requests.size", len(request.requests), minimum=1, maximum=MAX_BATCH)
        orders = []
        for index, item in enumerate(request.requests[:MAX_BATCH]):
            of_item = faults.prefixed(f"requests[{index}].")
            if item.request_id:
                of_item.add("request_id", "must stay empty inside a batch; the batch has one")
            orders.append(_order(of_item, item))
        faults.raise_if_any()
        entries = await self._issue(caller, request_id, orders)
        return pb.BatchRequestIssuancesResponse(issuances=[self._issuance(entry) for entry in entries])

    async def CheckIssuance(self, request: pb.CheckIssuanceRequest, context: Context) -> pb.CheckIssuanceResponse:
        """Dry run."""
        self._own(context)
        self._must_issue()
        faults = Faults()
        order = _order(faults, request)
        faults.raise_if_any()
        try:
            refusals, answers = await self._check.run(order)
        except LookupUnavailable as error:
            raise DomainError(Reason.LOOKUP_UNAVAILABLE) from error
        return pb.CheckIssuanceResponse(
            refusals=[to_status(refusal.error()) for refusal in refusals],
            peer_answers=[to_peer_answer(answer) for answer in answers],
        )

    async def GetIssuance(self, request: pb.GetIssuanceRequest, context: Context) -> pb.Issuance:
        """One issuance."""
        self._own(context)
        faults = Faults()
        name = _ISSUANCE_NAME.fullmatch(request.name)
        if name is None:
            faults.add("name", "must be issuances/{id}")
        faults.raise_if_any()
        entry = await self._tools.journal.read(IssuanceId(int(name[1]))) if name else None
        if entry is None:
            raise DomainError(Reason.ISSUANCE_UNKNOWN, issuance=request.name)
        return self._issuance(entry)

    async def ListIssuances(self, request: pb.ListIssuancesRequest, context: Context) -> pb.ListIssuancesResponse:
        """Issuances in order of creation."""
        self._own(context)
        faults = Faults()
        size = page_size(request.page_size, faults)
        query = query_hash(request)
        after = faults.page_token("page_token", request.page_token, query) or 0
        activity = faults.activity("activity", request.activity) if request.activity else None
        period = faults.period("period", request.HasField("period"), request.period, required=False)
        state = faults.enum("state", request.state, pb.IssuanceState, required=False)
        faults.raise_if_any()
        entries = await self._tools.journal.list_entries(
            after=IssuanceId(after),
            limit=size + 1,
            activity=activity,
            period=period,
            states=frozenset({STATES_BACK[state]}) if state else None,
        )
        page = entries[:size]
        return pb.ListIssuancesResponse(
            issuances=[self._issuance(entry) for entry in page],
            next_page_token=encode_page_token(query, page[-1].issuance_id) if len(entries) > size else "",
        )

    async def FindIssuances(self, request: pb.FindIssuancesRequest, context: Context) -> pb.FindIssuancesResponse:
        """What any other registry may ask."""
        faults = Faults()
        activity = faults.activity("activity", request.activity)
        period = faults.period("period", request.HasField("period"), request.period)
        faults.raise_if_any()
        if activity is None or period is None:
            raise AssertionError("no value and no fault")
        # The journal knows each activity as it was called when the issuance was asked for.
        try:
            names = await self._tools.lookup.names_of(activity)
        except LookupUnavailable as error:
            raise DomainError(Reason.LOOKUP_UNAVAILABLE) from error
        entries = await self._tools.journal.find_entries(
            activities=names.activities,
            native_project_ids=names.native_project_ids,
            period=period,
            states=_TELLING,
            limit=MAX_PAGE,
        )
        return pb.FindIssuancesResponse(issuances=[to_found(self._found(entry)) for entry in entries])

    # -- Inside -------------------------------------------------------------------------------------------------

    def _own(self, context: Context) -> Caller:
        """The caller; a registry must be this one."""
        caller = caller_of(context)
        if caller.role is Role.REGISTRY:
            require_registry(caller, self._tools.registry)
        return caller

    def _must_issue(self) -> None:
        if not self._tools.native.capabilities.issues:
            raise DomainError(Reason.REGISTRY_ISSUES_NOTHING, registry=self._tools.registry)

    async def _issue(self, caller: Caller, request_id: str, orders: Sequence[Order]) -> list[Entry]:
        # The work must not inherit the caller's deadline: it goes on when the caller is gone.
        with unbound():
            return await self._desk.issue(Request(str(caller), request_id, tuple(orders)))

    def _issuance(self, entry: Entry) -> pb.Issuance:
        return to_issuance(entry, self._tools.instrument.code)

    def _found(self, entry: Entry) -> FoundIssuance:
        return FoundIssuance(self._tools.registry, self._tools.instrument.code, entry.period, entry.state)


def _order(faults: Faults, request: pb.RequestIssuanceRequest | pb.CheckIssuanceRequest) -> Order:
    """An order; usable only when no fault was noted."""
    declared = request.declaration
    native_project_id = faults.text("native_project_id", request.native_project_id, max_length=128)
    period = faults.period("period", request.HasField("period"), request.period)
    units = faults.number("units", request.units, minimum=0, maximum=MAX_UNITS)
    uri = faults.text("declaration.document_uri", declared.document_uri, max_length=512, required=False)
    declaration = Declaration(declared.no_other_application, declared.no_claim_after_transfer, uri)
    return Order(native_project_id, period or _NO_PERIOD, units, declaration)
