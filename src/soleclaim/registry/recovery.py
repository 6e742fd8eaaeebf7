"""Recovery: on start and on a timer, every unfinished entry is driven on until it is ISSUED or REFUSED.

What was interrupted before the native call is *finished*: the journal proves that nothing was sent, and the same
function goes on from the stage that was reached (or ends it, when the lock or the time to send has run out).
What may have been sent is settled by asking the native registry, by the table "what counts as proof of absence"
(design section 3). An answer that does not come changes nothing; it is asked again, later and later, and alarms.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from prometheus_client import Gauge

from soleclaim.core.errors import DomainError, Reason
from soleclaim.registry.desk import IssuanceDesk, unfinished
from soleclaim.registry.domain import BatchId, Entry, EvidenceKind, RecoveryStep, Refusal, Stage
from soleclaim.registry.journal import Lease
from soleclaim.registry.lease import LeaseKeeper
from soleclaim.registry.lookup import LookupUnavailable
from soleclaim.registry.native import (
    AbsenceProof,
    NativeIssuance,
    NativeRefusal,
    NativeUnavailable,
    NativeUnknown,
)
from soleclaim.registry.workflow import (
    Tools,
    Work,
    ask_again,
    at,
    drive,
    each,
    issue,
    made,
    misfit,
    native_refused,
    proven_absent,
)

_LOG = logging.getLogger(__name__)

_DOUBT: Final = (Stage.SENDING, Stage.UNKNOWN)
_NO_WRITING: Final = frozenset({Reason.ADAPTER_STANDING_BY, Reason.STORE_BUSY})

IN_DOUBT: Final = Gauge(
    "soleclaim_registry_in_doubt",
    "Issuances whose native call was made, or may have been, and are not committed",
    ["registry"],
)
OLDEST_DOUBT: Final = Gauge(
    "soleclaim_registry_in_doubt_oldest_age_seconds",
    "Age of the oldest issuance in doubt; 0 when there is none",
    ["registry"],
)
WAITING: Final = Gauge(
    "soleclaim_registry_waiting_for_review",
    "Issuances that wait until a person has decided which activity they are of",
    ["registry"],
)
ACTIVE: Final = Gauge(
    "soleclaim_registry_active", "1 while this process has the journal, 0 while it stands by", ["registry"]
)


@dataclass(frozen=True, slots=True)
class RecoveryTimes:
    """``poll``: how often to look. Back-off doubles from ``first_pause`` to ``longest_pause``, which bounds how long a
    doubt lasts after the lookup or the native registry is back; for what is under review, to ``longest_review_pause``.
    """

    poll: timedelta = timedelta(seconds=1)
    first_pause: timedelta = timedelta(seconds=1)
    longest_pause: timedelta = timedelta(seconds=30)
    longest_review_pause: timedelta = timedelta(seconds=60)
    batches_at_once: int = 4


class Recovery:
    """Drives unfinished entries on while this process has the lease."""

    def __init__(self, tools: Tools, keeper: LeaseKeeper, desk: IssuanceDesk, times: RecoveryTimes) -> None:
        self._tools = tools
        self._keeper = keeper
        self._desk = desk
        self._times = times
        self._mine: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Keep going until cancelled."""
        while True:
            with suppress(DomainError):  # No lease or no store at present: the keeper tells of both.
                await self.step()
            await asyncio.sleep(self._times.poll.total_seconds())

    async def step(self) -> None:
        """Start work on what is due, and state what is in doubt. Does not wait for the work."""
        registry = self._tools.registry
        ACTIVE.labels(registry).set(self._keeper.active)
        lease = self._keeper.current()
        self._mine = {task for task in self._mine if not task.done()}
        for batch_id in await self._tools.journal.due(limit=100):
            if len(self._mine) >= self._times.batches_at_once:
                break
            if not self._desk.is_busy(batch_id):
                self._mine.add(self._desk.work_on(batch_id, partial(self.recover, batch_id, lease)))
        doubt = await self._tools.journal.in_doubt()
        IN_DOUBT.labels(registry).set(doubt.count)
        OLDEST_DOUBT.labels(registry).set(doubt.oldest_age.total_seconds())
        WAITING.labels(registry).set(await self._tools.journal.under_review())

    async def recover(self, batch_id: BatchId, lease: Lease) -> None:
        """One try at a batch: settle what is in doubt, drive on what waits for nobody, ask about what is under review
        and due, drive on what was decided, put off what is left. As ``drive`` raises.
        """
        work = Work(self._tools, lease, await self._tools.journal.read_batch(batch_id))
        start = await self._tools.journal.now()
        try:
            await self._settle(work, work.at_stage(*_DOUBT))
            await drive(work)
            await ask_again(work, start)
            await drive(work)
        except LookupUnavailable as error:
            await self._put_off(work, start, f"the lookup does not answer: {error}")
            raise
        except Exception as error:
            # A bug, perhaps met by these entries alone: first in the queue for ever, they would hold up all others.
            if not (isinstance(error, DomainError) and error.reason in _NO_WRITING):
                fresh = Work(self._tools, lease, await self._tools.journal.read_batch(batch_id))
                await self._put_off(fresh, start, f"failed: {type(error).__name__}")
            raise
        await self._put_off(work, start, "no proof yet")

    async def _settle(self, work: Work, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        # 9. Recover: what may have been sent is settled by asking the native registry.
        with at(RecoveryStep.SETTLE):
            settled = await each(entries, lambda entry: settle(self._tools, work.lease, entry))
        changed = [after for before, after in zip(entries, settled, strict=True) if after != before]
        await work.record(changed, "native registry asked")

    async def _put_off(self, work: Work, start: datetime, why: str) -> None:
        """``start``: when this try began; what was under review and not due then was not tried."""
        entries = unfinished(work.at_stage(*Stage))
        left = [entry for entry in entries if entry.stage is not Stage.UNDER_REVIEW or entry.is_due(start)]
        if not left:
            return
        now = await self._tools.journal.now()
        # To wait for a person is no alarm (the gauge tells how many do), and to ask in vain no history.
        await work.put_off([self._put_off_one(entry, now) for entry in left if entry.stage is Stage.UNDER_REVIEW])
        left = [entry for entry in left if entry.stage is not Stage.UNDER_REVIEW]
        await work.record([self._put_off_one(entry, now) for entry in left], f"put off: {why}")
        for stage in sorted({entry.stage for entry in left}, key=lambda stage: stage.value):
            names = [entry.reference for entry in left if entry.stage is stage]
            _LOG.warning(
                "registry %s: %d issuance(s) unfinished at %s after %d tries (%s), first %s",
                *(self._tools.registry, len(names), stage.value, left[0].attempts + 1, why, names[0]),
            )

    def _put_off_one(self, entry: Entry, now: datetime) -> Entry:
        times = self._times
        longest = times.longest_review_pause if entry.stage is Stage.UNDER_REVIEW else times.longest_pause
        pause = min(times.first_pause * 2 ** min(entry.attempts, 20), longest)
        next_try = now + pause * random.uniform(0.75, 1.0)  # noqa: S311  spreads load, no secret
        if entry.stage in _DOUBT and entry.absent_after is not None and entry.absent_after > now:
            # The proof becomes possible then; no need to sleep past it.
            next_try = min(next_try, entry.absent_after + timedelta(milliseconds=10))
        return replace(entry, attempts=entry.attempts + 1, next_try_time=next_try)


async def settle(tools: Tools, lease: Lease, entry: Entry) -> Entry:
    """What the native registry's answer proves about an entry that may have been sent; unchanged when nothing.

    The lease is checked right before every call that changes something natively.
    """
    try:
        match tools.native.capabilities.absence_proof:
            case AbsenceProof.VOID:
                lease.check()
                found = await tools.native.void(entry.reference)
                return _made_or(entry, found, _voided(entry))
            case AbsenceProof.RESEND:
                (lock,) = await tools.lookup.locks([entry.lock])
                if not lock.is_issuing(entry.fencing_token):
                    # The journal was restored. To send now would be to issue without a lock.
                    ended = lock.is_over_without_issuance(entry.fencing_token)
                    absent = _ended_before(entry) if ended else entry
                    return _made_or(entry, await tools.native.find(entry.reference), absent)
                lease.check()
                return await _resend(tools, entry)
            case AbsenceProof.SEARCH_TWICE:
                # The clock is read before the search: the search must *begin* after the last moment at which a
                # call of ours could still take effect.
                now = await tools.journal.now()
                found = await tools.native.find(entry.reference)
                return _made_or(entry, found, _not_found(entry, now))
            case AbsenceProof.OPERATOR:
                return _made_or(entry, await tools.native.find(entry.reference), entry)
    except NativeUnavailable as error:
        _LOG.info("%s: the native registry does not answer: %s", entry.reference, error)
        return entry


def _made_or(entry: Entry, found: NativeIssuance | None, absent: Entry) -> Entry:
    if found is None:
        return absent
    if why := misfit(entry, found):
        _LOG.error("%s: the native registry has an issuance with this reference, but %s", entry.reference, why)
        return entry
    return made(entry, found)


def _ended_before(entry: Entry) -> Entry:
    evidence = f"{entry.reference}: not found, and the lookup has the proof of an earlier abort"
    return replace(entry, stage=Stage.REFUSED, refusal=Refusal.of(Reason.ISSUANCE_PROVEN_ABSENT, evidence=evidence))


def _voided(entry: Entry) -> Entry:
    return proven_absent(entry, EvidenceKind.REFERENCE_VOIDED, "the reference was voided natively before any use")


def _not_found(entry: Entry, now: datetime) -> Entry:
    """First "not found": noted. A later one is proof once no call of ours can still be under way."""
    if entry.not_found_time is None:
        return replace(entry, not_found_time=now)
    if entry.absent_after is None or now <= entry.absent_after:
        return entry
    return proven_absent(
        entry,
        EvidenceKind.NOT_FOUND_TWICE,
        f"not found at {entry.not_found_time.isoformat()} and at {now.isoformat()}; "
        f"no call could take effect after {entry.absent_after.isoformat()}",
    )


async def _resend(tools: Tools, entry: Entry) -> Entry:
    """The very same order again: it finds the first or becomes it. Only a lasting refusal *and* absence end it."""
    (result,) = await issue(tools, [entry])
    match result:
        case NativeIssuance():
            return made(entry, result)
        case NativeRefusal(lasting=True):
            return _made_or(entry, await tools.native.find(entry.reference), native_refused(entry, result))
        case NativeRefusal() | NativeUnknown():
            return entry
