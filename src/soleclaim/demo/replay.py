"""Act 5: California's issuances of 2013 to 2024 in date order, as one more registry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from soleclaim.api.common.v1.types_pb2 import Identifier, UnitBlock
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.client import LookupClient
from soleclaim.core.errors import Reason
from soleclaim.demo import california
from soleclaim.demo.stage import DECLARATION, ActFailed, Line, Report, Stage, registered, repeated
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.status import from_status

ACT: Final = "replay"

_LIMIT_S: Final = 30.0


@dataclass(slots=True)
class Tally:
    """What became of the rows so far."""

    granted: int = 0
    supplements: int = 0
    tonnes: int = 0
    refused: list[str] = field(default_factory=list)


async def replay(stage: Stage) -> Report:
    """Act 5: one more registry, which has no adapter here and speaks to the lookup itself."""
    table, tally = california.load_table(), Tally()
    client = stage.lookup[california.REGISTRY]
    activities = await _register_projects(stage, table.issuances)
    done = 0
    for number, batch in enumerate(california.batches(table.issuances)):
        await _replay_batch(client, f"{stage.run}-arb-{number}", batch, activities, tally)
        done += len(batch)
        stage.progress(ACT, done, len(table.issuances))
    return _report(table, tally, projects=len(set(activities.values())))


async def _register_projects(stage: Stage, rows: Sequence[california.Issuance]) -> dict[str, str]:
    """Activity names by project id."""
    client, projects = stage.lookup[california.REGISTRY], {row.project_id: row for row in rows}
    requests = [
        activity_pb.RegisterActivityRequest(
            native_project=activity_pb.NativeProjectRef(registry=california.REGISTRY, native_project_id=project_id),
            country="US",
            activity_type=row.activity_type,
            display_name=project_id,
            time_zone=str(california.ZONE),
            identifiers=[Identifier(scheme="arb_project", value=project_id)],
        )
        for project_id, row in projects.items()
    ]
    activities = await registered(client, f"{stage.run}-register-arb", requests)
    return {project_id: activity.name for project_id, activity in zip(projects, activities, strict=True)}


async def _replay_batch(
    client: LookupClient,
    request_id: str,
    batch: Sequence[california.Issuance],
    activities: Mapping[str, str],
    tally: Tally,
) -> None:
    """Acquire, begin and commit one batch; what the lookup refuses as a partial overlap with itself is noted."""
    acquire = lock_pb.BatchAcquireIssuanceLocksRequest(
        request_id=f"{request_id}-acquire", requests=[_acquire(row, activities[row.project_id]) for row in batch]
    )
    answer = await repeated(lambda: client.call(client.locks.BatchAcquireIssuanceLocks, acquire, timeout_s=_LIMIT_S))
    won: list[tuple[california.Issuance, lock_pb.IssuanceLock]] = []
    for row, result in zip(batch, answer.results, strict=True):
        if result.HasField("lock"):
            won.append((row, result.lock))
            continue
        refusal = from_status(result.error)
        if refusal.reason is not Reason.PERIOD_OVERLAPS_OWN_LOCK:
            raise ActFailed(ACT, f"{row.issuance_id}: {refusal}", f"{row.issuance_id}：{refusal.message_zh}")
        tally.refused.append(row.issuance_id)
    if not won:
        return
    begin = lock_pb.BatchBeginIssuancesRequest(
        request_id=f"{request_id}-begin",
        requests=[lock_pb.BeginIssuanceRequest(name=lock.name, fencing_token=lock.fencing_token) for _, lock in won],
    )
    _all_done(await repeated(lambda: client.call(client.locks.BatchBeginIssuances, begin, timeout_s=_LIMIT_S)))
    commit = lock_pb.BatchCommitIssuancesRequest(
        request_id=f"{request_id}-commit", requests=[_commit(row, lock) for row, lock in won]
    )
    _all_done(await repeated(lambda: client.call(client.locks.BatchCommitIssuances, commit, timeout_s=_LIMIT_S)))
    tally.supplements += sum(lock.supplement for _, lock in won)
    tally.granted += sum(not lock.supplement for _, lock in won)
    tally.tonnes += sum(row.credits_t for row, _ in won)


def _acquire(row: california.Issuance, activity: str) -> lock_pb.AcquireIssuanceLockRequest:
    return lock_pb.AcquireIssuanceLockRequest(
        registry=california.REGISTRY,
        instrument=california.INSTRUMENT,
        activity=activity,
        period=to_interval(row.period),
        units=row.credits_t,
        reference=row.issuance_id,
        declaration=DECLARATION,
    )


def _commit(row: california.Issuance, lock: lock_pb.IssuanceLock) -> lock_pb.CommitIssuanceRequest:
    return lock_pb.CommitIssuanceRequest(
        name=lock.name,
        fencing_token=lock.fencing_token,
        native_issuance_id=row.issuance_id,
        # The published table has no serials: a series of its own for each issuance.
        blocks=[UnitBlock(series=f"ARBOC-{row.issuance_id}", start=1, end=row.credits_t)],
    )


def _all_done(answer: lock_pb.BatchIssuanceLocksResponse) -> None:
    for result in answer.results:
        if result.HasField("error"):
            refusal = from_status(result.error)
            raise ActFailed(ACT, str(refusal), refusal.message_zh)


def _report(table: california.Table, tally: Tally, *, projects: int) -> Report:
    refused = sorted(tally.refused)
    skipped = sum(table.skipped.values())
    figures: dict[str, object] = {
        "projects": projects,
        "issuances": len(table.issuances),
        "granted": tally.granted,
        "supplements": tally.supplements,
        "refused": refused,
        "skipped": skipped,
        "skipped_because": table.skipped,
        "tonnes": tally.tonnes,
        "note": "civil days read as America/Los_Angeles; the table has no serials: one made-up series per issuance id",
    }
    why = ", ".join(f"{count} {reason}" for reason, count in table.skipped.items())
    why_zh = "、".join(
        f"{california.SKIPPED_ZH.get(reason, reason)} {count}" for reason, count in table.skipped.items()
    )
    ids = ", ".join(refused)
    lines = (
        Line(
            f"{len(table.issuances):,} California issuances of {projects} projects: {tally.granted:,} granted,"
            f" {tally.supplements} granted as supplements, {len(refused)} refused as partial overlaps with the"
            f" registry's own lock ({ids}); {tally.tonnes:,} tCO2e",
            f"加州 {projects} 个项目的 {len(table.issuances):,} 笔签发：授予 {tally.granted:,}，补充签发"
            f" {tally.supplements}，因与自身签发锁部分重叠被拒 {len(refused)}（{ids}）；共 {tally.tonnes:,} tCO2e",
        ),
        Line(f"{skipped} rows without credits skipped: {why}", f"跳过 {skipped} 行无签发量的记录：{why_zh}"),
        Line(
            "the days are read in California's time zone; the table has no serials, a series is made up per issuance",
            "日期按加州时区解读；原表无序列号，每笔签发由程序生成一个序列",
        ),
    )
    return Report(ACT, figures, lines)
