"""Taking a file over by the lookup: batch by batch, each under a request id made from the file and the batch.

So a run that ended anywhere is simply started again: what was done answers as it did the first time.
"""

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from soleclaim.api.common.v1.types_pb2 import Identifier, UnitBlock
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.lookup.v1 import dispute_service_pb2 as dispute_pb
from soleclaim.api.lookup.v1 import history_service_pb2 as pb
from soleclaim.client import LookupClient, RemoteUnavailable
from soleclaim.core.failpoint import reach
from soleclaim.history import arb, archive, plants, rego, table
from soleclaim.history.rows import Issued, Line, Project, Read, Reader, Skipped
from soleclaim.natives.cells import RowFault, TableFault
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.status import from_status

FORMATS: Final[Mapping[str, Reader]] = {
    "arb": arb.read,
    "rego": rego.read,
    "cdm": plants.read_cdm,
    "gppd": plants.read_gppd,
    "csv": table.read,
    "archive": archive.read,
}
"""Each reads one file; ``archive`` the folder of all tables."""
BATCH: Final = 200
"""Rows of the file per request. Comparing as many described projects with what is known takes seconds."""
LIMIT_S: Final = 60.0
ATTEMPTS: Final = 6
"""How often a batch is sent while nobody answers, with pauses that double from a second on."""
STATES: Final = ("FITTED", "IN_REVIEW", "DISPUTED", "REPEATED")


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one row of the file. ``state``: one of ``STATES``, SKIPPED or FAULTY."""

    line: int
    project: str
    issuance: str
    state: str
    joined: bool
    activity: str
    detail: str
    """Review case or disputes, the reason to skip, or what to mend."""


@dataclass(slots=True)
class Report:
    """What became of a file."""

    fates: list[Fate] = field(default_factory=list)
    disputes: dict[str, str] = field(default_factory=dict)
    """Kind, by name, of each dispute that a row is in."""

    def count(self, state: str) -> int:
        """Rows in a state."""
        return sum(each.state == state for each in self.fates)

    @property
    def joined(self) -> int:
        """Rows whose activity other registries know."""
        return sum(each.joined for each in self.fates)

    @property
    def reasons(self) -> dict[str, Counter[str]]:
        """By state: why rows are in it, with their number."""
        found: dict[str, Counter[str]] = {}
        for each in self.fates:
            if each.state == "DISPUTED":
                for name in each.detail.split():
                    found.setdefault(each.state, Counter())[self.disputes.get(name, "UNKNOWN")] += 1
            elif each.state == "SKIPPED":
                found.setdefault(each.state, Counter())[each.detail] += 1
        return found

    def as_document(self) -> dict[str, object]:
        """For JSON."""
        return {
            "rows": len(self.fates),
            **{state.lower(): self.count(state) for state in (*STATES, "SKIPPED", "FAULTY")},
            "joined": self.joined,
            "activities": len({each.activity for each in self.fates if each.activity}),
            "disputes": dict(Counter(self.disputes.values())),
            "reasons": {state: dict(why) for state, why in self.reasons.items()},
            "faults": [f"line {each.line}: {each.detail}" for each in self.fates if each.state == "FAULTY"],
        }


async def take_over(
    client: LookupClient, path: Path, registry: str, form: str, *, progress: Callable[[int], None]
) -> Report:
    """Send the file. ``progress`` is told how many rows are done. Raises ``TableFault``, ``RemoteUnavailable``."""
    report = Report()
    digest = _digest(path)
    rows = FORMATS[form](path, registry)
    try:
        while batch := list(islice(rows, BATCH)):
            report.fates += await _send(client, f"{digest}/{form}/{registry}", registry, batch)
            progress(len(report.fates))
            reach(f"import.{len(report.fates)}")
    except TableFault as fault:
        if not report.fates:
            raise
        done = f"the first {len(report.fates)} rows were sent and stay as they are; mend the file and start again"
        raise TableFault(f"{fault}; {done}") from None
    await _name_disputes(client, report, registry)
    return report


def count_rows(path: Path) -> int:
    """About how many rows the file or folder has, for a bar of progress."""
    return sum(block.count(b"\n") for block in _blocks(path))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    """All bytes of a file, or of each file of a folder."""
    for each in sorted(filter(Path.is_file, path.iterdir())) if path.is_dir() else [path]:
        with each.open("rb") as file:
            yield from iter(partial(file.read, 1 << 20), b"")


async def _send(client: LookupClient, source: str, registry: str, batch: list[Read]) -> list[Fate]:
    batch, messages = _to_send(registry, batch)
    lines = [each for each in batch if isinstance(each, Line)]
    request = pb.BatchImportIssuancesRequest(requests=messages)
    results: Sequence[pb.ImportResult] = ()
    if lines:
        payload = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
        told = f"{source}/{lines[0].number}-{lines[-1].number}/{payload}"
        request.request_id = f"import-{hashlib.sha256(told.encode()).hexdigest()[:48]}"
        results = await _asked_anew(client, request, (await _answered(client, request)).results)
    answers = iter(results)
    return [_fate(each, next(answers) if isinstance(each, Line) else None) for each in batch]


def _to_send(registry: str, batch: list[Read]) -> tuple[list[Read], list[pb.ImportIssuanceRequest]]:
    """The batch, with a fault where no message can hold a row's numbers, and the messages of its other rows."""
    rows: list[Read] = []
    messages = []
    for row in batch:
        if not isinstance(row, Line):
            rows.append(row)
            continue
        try:
            messages.append(to_request(registry, row))
        except ValueError as error:
            rows.append(RowFault(row.number, "row", f"a number is out of range: {error}; correct it"))
        else:
            rows.append(row)
    return rows, messages


async def _asked_anew(
    client: LookupClient, request: pb.BatchImportIssuancesRequest, results: Sequence[pb.ImportResult]
) -> Sequence[pb.ImportResult]:
    """With another answer where one was refused: it may be that of an earlier run, and a row be taken by now."""
    refused = [i for i, each in enumerate(results) if each.HasField("error")]
    if not refused:
        return results
    again = pb.BatchImportIssuancesRequest(
        request_id=f"import-{secrets.token_hex(24)}", requests=[request.requests[i] for i in refused]
    )
    answers = dict(zip(refused, (await _answered(client, again)).results, strict=True))
    return [answers.get(i, each) for i, each in enumerate(results)]


async def _answered(client: LookupClient, request: pb.BatchImportIssuancesRequest) -> pb.BatchImportIssuancesResponse:
    for attempt in range(ATTEMPTS):
        try:
            return await client.call(client.history.BatchImportIssuances, request, timeout_s=LIMIT_S)
        except RemoteUnavailable:
            if attempt == ATTEMPTS - 1:
                raise
            await asyncio.sleep(2**attempt)
    raise AssertionError("unreachable")


def _fate(row: Read, result: pb.ImportResult | None) -> Fate:
    if isinstance(row, Skipped):
        return Fate(row.number, "", "", "SKIPPED", False, "", row.reason)
    if isinstance(row, RowFault):
        return Fate(row.line, "", "", "FAULTY", False, "", f"{row.column}: {row.why}")
    if result is None:
        raise AssertionError("a row was sent and not answered")
    project = row.project.native_project_id
    issuance = "" if row.issued is None else row.issued.native_issuance_id
    if result.HasField("error"):
        return Fate(row.number, project, issuance, "FAULTY", False, "", str(from_status(result.error)))
    told = result.imported
    state = pb.ImportState.Name(told.state).removeprefix("IMPORT_STATE_")
    detail = told.review_case or " ".join(told.disputes)
    return Fate(row.number, project, issuance, state, told.joined, told.activity, detail)


async def _name_disputes(client: LookupClient, report: Report, registry: str) -> None:
    """The kind of each dispute that a row is in; its registry is a side of all of them."""
    wanted = {name for each in report.fates if each.state == "DISPUTED" for name in each.detail.split()}
    request = dispute_pb.ListDisputesRequest(registry=registry, page_size=1000)
    while wanted:
        page = await client.call(client.disputes.ListDisputes, request)
        for each in page.disputes:
            if each.name in wanted:
                report.disputes[each.name] = dispute_pb.DisputeKind.Name(each.kind).removeprefix("DISPUTE_KIND_")
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def to_request(registry: str, line: Line) -> pb.ImportIssuanceRequest:
    """A row on the wire."""
    message = pb.ImportIssuanceRequest(project=_to_project(registry, line.project))
    if line.issued is not None:
        message.issuance.CopyFrom(_to_issuance(line.issued))
    return message


def _to_project(registry: str, project: Project) -> activity_pb.RegisterActivityRequest:
    message = activity_pb.RegisterActivityRequest(
        native_project=activity_pb.NativeProjectRef(registry=registry, native_project_id=project.native_project_id),
        country=project.country,
        activity_type=project.activity_type,
        display_name=project.display_name,
        time_zone=project.time_zone,
        identifiers=[Identifier(scheme=scheme, value=value) for scheme, value in project.identifiers],
    )
    if project.described:
        message.description.name_local = project.name_local
        message.description.owner = project.owner
        message.description.capacity_kw = round((project.capacity_mw or 0) * 1000)
        message.description.commissioning_year = project.commissioning_year or 0
        message.description.region = project.region
        if project.latitude is not None and project.longitude is not None:
            message.description.position.latitude = project.latitude
            message.description.position.longitude = project.longitude
    return message


def _to_issuance(issued: Issued) -> pb.HistoricIssuance:
    message = pb.HistoricIssuance(
        instrument=issued.instrument,
        period=to_interval(issued.period),
        units=issued.units,
        native_issuance_id=issued.native_issuance_id,
        blocks=[UnitBlock(series=each.series, start=each.start, end=each.end) for each in issued.blocks],
    )
    if issued.issue_day is not None:
        stamp = Timestamp()
        stamp.FromDatetime(datetime.combine(issued.issue_day, time(), UTC))
        message.issue_time.CopyFrom(stamp)
    return message
