"""HistoryService."""

from collections.abc import Sequence
from typing import Final

import grpc

from soleclaim.api.lookup.v1 import history_service_pb2 as pb2
from soleclaim.api.lookup.v1 import history_service_pb2_grpc as pb2_grpc
from soleclaim.core.errors import DomainError
from soleclaim.core.identity import Caller, Role
from soleclaim.core.serials import total
from soleclaim.lookup.domain import HistoricIssuance, HistoryRow, Imported
from soleclaim.lookup.grpc import disputes, reviews
from soleclaim.lookup.grpc.convert import LOCK_PREFIX, MAX_UNITS, parse_blocks, parse_registration
from soleclaim.lookup.grpc.mutation import Mutation, run_batch, run_single
from soleclaim.lookup.ports import LookupStore, Transaction
from soleclaim.lookup.service import history
from soleclaim.policy.bundle import Bundle
from soleclaim.rpc.caller import Context, require_registry
from soleclaim.rpc.parse import Faults

SERVICE: Final = "soleclaim.api.lookup.v1.HistoryService"


class HistoryServicer(pb2_grpc.HistoryServiceServicer):
    """History on the wire."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        self._store = store

        def parse(message: pb2.ImportIssuanceRequest, caller: Caller, faults: Faults) -> HistoryRow | None:
            row = parse_row(message, bundle, faults)
            if not faults.any() and caller.role is Role.REGISTRY:
                require_registry(caller, message.project.native_project.registry)
            return row

        async def work(transaction: Transaction, rows: list[HistoryRow]) -> Sequence[Imported | DomainError]:
            return await history.take_over(transaction, bundle, rows)

        self._import: Mutation[HistoryRow, Imported] = Mutation(
            "ImportIssuance", parse, work, _fill, pb2.BatchImportIssuancesResponse
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add to a server."""
        pb2_grpc.add_HistoryServiceServicer_to_server(self, server)

    async def ImportIssuance(self, request: pb2.ImportIssuanceRequest, context: Context) -> pb2.ImportedIssuance:
        """See the proto."""
        result: pb2.ImportResult = await run_single(self._store, self._import, request, context)
        return result.imported

    async def BatchImportIssuances(
        self, request: pb2.BatchImportIssuancesRequest, context: Context
    ) -> pb2.BatchImportIssuancesResponse:
        """See the proto."""
        response: pb2.BatchImportIssuancesResponse = await run_batch(self._store, self._import, request, context)
        return response


def parse_row(message: pb2.ImportIssuanceRequest, bundle: Bundle, faults: Faults) -> HistoryRow | None:
    """A row of history; ``None`` when it has faults."""
    under = faults.prefixed("project.")
    if message.project.request_id:
        under.add("request_id", "must stay empty; that of the import counts")
    project = parse_registration(message.project, bundle, under)
    if not message.HasField("issuance"):
        return HistoryRow(project, None)
    issuance = _parse_issuance(message.issuance, project.registry, bundle, faults.prefixed("issuance."))
    return None if issuance is None else HistoryRow(project, issuance)


def _parse_issuance(
    message: pb2.HistoricIssuance, registry: str, bundle: Bundle, faults: Faults
) -> HistoricIssuance | None:
    instrument = bundle.instruments.get(message.instrument)
    if instrument is None or instrument.registry != registry:
        issued = ", ".join(bundle.instruments_of(registry)) or "none"
        faults.add("instrument", f"is not issued by registry {registry[:32]}; its instruments: {issued}")
    period = faults.period("period", message.HasField("period"), message.period)
    units = faults.number("units", message.units, minimum=1, maximum=MAX_UNITS)
    native_issuance_id = faults.text("native_issuance_id", message.native_issuance_id, max_length=128)
    blocks = parse_blocks(message.blocks, faults, minimum=0)
    if blocks and (counted := total(blocks)) != units:
        faults.add("blocks", f"hold {counted} units, not {units}; a block holds end - start + 1, both ends included")
    issue_time = faults.instant("issue_time", message.issue_time) if message.HasField("issue_time") else None
    if period is None:
        return None
    return HistoricIssuance(message.instrument, period, units, native_issuance_id, blocks, issue_time)


def _fill(result: pb2.ImportResult, imported: Imported) -> None:
    message = result.imported
    message.state = imported.state  # type: ignore[assignment]  # the domain's numbers are the API's
    message.joined = imported.joined
    if imported.activity_id is not None:
        message.activity = f"activities/{imported.activity_id}"
    if imported.lock_id is not None:
        message.issuance_lock = f"{LOCK_PREFIX}{imported.lock_id}"
    if imported.review_case is not None:
        message.review_case = f"{reviews.PREFIX}{imported.review_case}"
    message.disputes.extend(f"{disputes.PREFIX}{each}" for each in imported.disputes)
