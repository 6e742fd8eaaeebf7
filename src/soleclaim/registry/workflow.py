"""The issuance workflow: one linear function, ``drive``, from a journalled request to a committed issuance.

It can be entered at any stage: each step takes the entries that stand right before it, calls out, and journals what
became of all of them in one transaction before the next step begins. So going on after a crash is the same
function again, and a call to the lookup whose answer was lost is repeated as the very same call.
Only what may have been sent natively is never sent again here: that is for ``recovery`` to settle.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from soleclaim.core.activity_id import ActivityId
from soleclaim.core.errors import Reason
from soleclaim.core.failpoint import reach
from soleclaim.core.period import Period
from soleclaim.core.serials import first_overlap, total
from soleclaim.registry.domain import (
    Entry,
    Evidence,
    EvidenceKind,
    RecoveryStep,
    Refusal,
    Stage,
    Step,
    WaitingStep,
    lookup_request_id,
)
from soleclaim.registry.instruments import Instrument
from soleclaim.registry.journal import Journal, JournalFault, Lease, elapsed_s
from soleclaim.registry.lookup import Absent, Grant, LockWish, Lookup, Made, RecordedOutcome
from soleclaim.registry.native import (
    NativeIssuance,
    NativeOrder,
    NativeProject,
    NativeRefusal,
    NativeRegistry,
    NativeResult,
    NativeUnavailable,
    NativeUnknown,
    beyond_limits,
)

_LOG = logging.getLogger(__name__)

_T = TypeVar("_T")
_R = TypeVar("_R")

_READS_AT_ONCE: Final = 16
"""Reads from the native registry or the lookup under way at once, per batch."""
_MERGES_AT_ONCE: Final = 3
"""How often one ``drive`` asks anew for what was merged away meanwhile; recovery goes on from there."""
_MAX_EVIDENCE: Final = 1024
_PERHAPS_ABORTED: Final = frozenset({Reason.LOCK_STATE_WRONG, Reason.FENCING_TOKEN_STALE})
"""What a second abort of the same grant is refused with, when the first took effect."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Times that bound the irreversible part."""

    send_within: timedelta = timedelta(seconds=60)
    """Latest native call after Begin; past it the entry is aborted as never sent."""
    native_call: timedelta = timedelta(seconds=60)
    """Longest one native call may take before it is given up as unknown; above the native client's own time-out."""
    native_calls_at_once: int = 4
    review_wait: timedelta = timedelta(days=30)
    """Longest time from acceptance for which a request waits for a review; then it is refused."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the workflow works with."""

    registry: str
    instrument: Instrument
    journal: Journal
    lookup: Lookup
    native: NativeRegistry
    limits: Limits


@contextmanager
def at(step: Step | WaitingStep | RecoveryStep) -> Iterator[None]:
    """Mark a step's call. ``before``: all earlier steps are durable. ``after``: it is done, not yet journalled."""
    reach(f"registry.{step.name}.before")
    yield
    reach(f"registry.{step.name}.after")


class Work:
    """The entries of one batch while somebody works on them. Changes become durable, then visible here."""

    def __init__(self, tools: Tools, lease: Lease, entries: Sequence[Entry], *, is_new: bool = False) -> None:
        """``is_new``: the batch was accepted just now, so nobody can have done anything for it before."""
        self.tools = tools
        self.lease = lease
        self.is_new = is_new
        self._entries = {entry.issuance_id: entry for entry in entries}

    def at_stage(self, *stages: Stage) -> list[Entry]:
        """The entries that stand there, in the order of the request."""
        return [entry for entry in self._entries.values() if entry.stage in stages]

    async def record(self, entries: Sequence[Entry], detail: str) -> list[Entry]:
        """Journal changed entries in one transaction."""
        return self._seen(await self.tools.journal.record(self.lease, entries, detail))

    async def put_off(self, entries: Sequence[Entry]) -> None:
        """Journal when to try entries again, and nothing else of them; no history."""
        self._seen(await self.tools.journal.put_off(self.lease, entries))

    def _seen(self, entries: list[Entry]) -> list[Entry]:
        self._entries.update({entry.issuance_id: entry for entry in entries})
        return entries


async def drive(work: Work) -> None:
    """Take every entry as far as it goes: to ISSUED, to REFUSED, or into doubt.

    Raises ``LookupUnavailable``, ``LeaseLost`` and ``DomainError(STORE_BUSY)``: then everything stays where it was
    last journalled, and the same call goes on from there.
    """
    tools = work.tools

    # 1. and 3. The request was checked and journalled by ``desk.IssuanceDesk`` before anything left this process.

    # 2. to 4. Identity, outcome, lock. A merge between them makes an alias of the activity: then from 2. once more.
    for _ in range(_MERGES_AT_ONCE):
        await _ask_for_locks(work)
        if not work.at_stage(Stage.ACCEPTED):
            break

    # 5. Begin: the point of no return at the lookup. The time is taken before the call, so it is never too late.
    for entries in _in_step(work.at_stage(Stage.HELD)):
        begin_time = await tools.journal.now()
        grants = [_grant(entry) for entry in entries]
        with at(Step.BEGIN):
            begun = await tools.lookup.begin(lookup_request_id(Step.BEGIN.name, entries), grants)
        issuing = [replace(entry, stage=Stage.ISSUING, begin_time=begin_time) for entry in entries]
        await work.record(
            [
                replace(entry, stage=Stage.REFUSED, refusal=refusal) if refusal else entry
                for entry, refusal in zip(issuing, begun, strict=True)
            ],
            "begin answered",
        )

    # 6. Obligations towards other registries (freeze, cancel, unfreeze) have their place here; none are built yet.

    # 7. Native issue. First it is durable that a call may be under way and until when it could take effect; then,
    #    with nothing in between, lease and time are checked again and the call is made.
    if not work.is_new:
        await _doubt_what_was_begun_before(work)
    if entries := work.at_stage(Stage.ISSUING):
        send_until_s, sending = await _journal_sending(work, entries)
        # Each chunk's results are journalled as they come: what is known does not wait for what is slow.
        await each(
            _chunks(sending, tools.native.capabilities.max_batch),
            lambda chunk: _send(work, chunk, send_until_s),
            at_once=tools.limits.native_calls_at_once,
        )

    # 8. Commit what was made, abort what is proven absent.
    await conclude(work)


async def _ask_for_locks(work: Work) -> None:
    tools = work.tools

    # 2. Identity: which activity is each native project? Unknown ones are registered; look-alikes wait for a person,
    #    whose decision ``ask_again`` finds.
    if entries := work.at_stage(Stage.ACCEPTED):
        with at(Step.IDENTITY):
            activities = await _identify(tools, entries)
        answers = [activities[entry.native_project_id] for entry in entries]
        await _apply(work, entries, answers, _identified, "identity asked")

    # 2b. Outcome: what did the native registry measure? It bounds the issuance at the lookup (I6). What it allocated
    #     bounds it natively alone.
    if entries := work.at_stage(Stage.IDENTIFIED):
        with at(Step.OUTCOME):
            measured = await _measure(tools, entries)
        await _apply(work, entries, measured, _measured, "outcome recorded")

    # 4. Acquire: the lookup grants the lock or says what stands in the way. Reference and content are journalled,
    #    so a lost answer is fetched by the same call.
    for entries in _in_step(work.at_stage(Stage.MEASURED)):
        wishes = [_wish(entry) for entry in entries]
        with at(Step.ACQUIRE):
            granted = await tools.lookup.acquire(_acquire_id(entries), wishes)
        await _apply(work, entries, granted, _held, "acquire answered")


async def ask_again(work: Work, now: datetime) -> None:
    """Step 2 again, for what waits for a person and is due: the decision may be there. As ``drive`` raises.

    Only reads, except where the native record has changed: that is new evidence for the person who decides. What goes
    on does so from its activity as it is now, which a decision may have merged into another. An entry that cannot be
    asked about costs the others nothing: all answers are journalled before an error is raised.
    """
    await each([entry for entry in work.at_stage(Stage.UNDER_REVIEW) if entry.is_due(now)], partial(_ask_one, work))


async def _ask_one(work: Work, entry: Entry) -> None:
    with at(WaitingStep.REVIEW):
        answer = await _review(work.tools, entry)
    await _apply(work, [entry], [answer], _identified, "review asked")


async def conclude(work: Work) -> None:
    """Step 8: tell the lookup how each native issuance ended. Also used when recovery has settled a doubt."""
    lookup = work.tools.lookup
    if entries := work.at_stage(Stage.MADE):
        facts = [Made(_grant(entry), entry.native_issuance_id, entry.blocks) for entry in entries]
        with at(Step.COMMIT):
            committed = await lookup.commit(_try_id(Step.COMMIT.name, entries), facts)
        await _concluded(work, "commit", Stage.ISSUED, entries, committed)
    if entries := work.at_stage(Stage.ABSENT):
        # One call each: their number may grow from one try to the next, and a repeated call must be the same call.
        with at(Step.COMMIT):
            aborted = await each(entries, lambda entry: _abort(lookup, entry))
        await _concluded(work, "abort", Stage.REFUSED, entries, aborted)


def _in_step(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries of each call that must be repeated as the very same call.

    Those that never waited have come here together. One that waited comes when it may, perhaps beside others whose
    answer was lost: it calls by itself.
    """
    together = [entry for entry in entries if not entry.waits]
    return [*([together] if together else []), *([entry] for entry in entries if entry.waits)]


def _acquire_id(entries: Sequence[Entry]) -> str:
    """After each wait another id: for the old one the lookup would repeat its refusal for ever."""
    return lookup_request_id(Step.ACQUIRE.name, entries, entries[0].waits or None)


def _try_id(step: str, entries: Sequence[Entry]) -> str:
    """The request id of this try. The next one, after anything was journalled about an entry, has another.

    A refusal is an answer that the lookup repeats for its request id; what it refuses today may be right tomorrow.
    """
    return lookup_request_id(step, entries, [entry.version for entry in entries])


async def _abort(lookup: Lookup, entry: Entry) -> Refusal | None:
    (refusal,) = await lookup.abort(_try_id("ABORT", [entry]), [Absent(_grant(entry), _evidence(entry))])
    if refusal is not None and refusal.reason in _PERHAPS_ABORTED:
        # An earlier try took effect, and its answer was lost?
        (lock,) = await lookup.locks([entry.lock])
        if lock.is_over_without_issuance(entry.fencing_token):
            return None
    return refusal


async def _concluded(
    work: Work, action: str, stage: Stage, entries: Sequence[Entry], answers: Sequence[Refusal | None]
) -> None:
    """Journal how a commit or an abort went. What the lookup refused although it is a fact natively stays, and
    recovery keeps trying: a person must look.
    """
    pairs = list(zip(entries, answers, strict=True))
    await work.record([replace(entry, stage=stage) for entry, refusal in pairs if refusal is None], f"{action} done")
    refused = [(entry, refusal) for entry, refusal in pairs if refusal is not None]
    for entry, refusal in refused:
        _LOG.error("%s: the lookup refused the %s: %s", entry.reference, action, refusal.error().message_en)
    reasons = ", ".join(sorted({refusal.reason.value for _, refusal in refused}))
    await work.record([entry for entry, _ in refused], f"{action} refused: {reasons}")


# -- 2. Identity and outcome -----------------------------------------------------------------------------------------


async def _identify(tools: Tools, entries: Sequence[Entry]) -> dict[str, ActivityId | Refusal]:
    """The activity of each native project, or why it has none."""
    project_ids = list(dict.fromkeys(entry.native_project_id for entry in entries))
    resolved = await each(project_ids, tools.lookup.resolve)
    answers: dict[str, ActivityId | Refusal] = {
        project_id: activity for project_id, activity in zip(project_ids, resolved, strict=True) if activity is not None
    }
    unknown = [project_id for project_id in project_ids if project_id not in answers]
    found = await each(unknown, lambda project_id: find_project(tools, project_id))
    projects = [project for project in found if isinstance(project, NativeProject)]
    answers |= {
        project_id: refusal for project_id, refusal in zip(unknown, found, strict=True) if isinstance(refusal, Refusal)
    }
    if projects:
        request_id = lookup_request_id(Step.IDENTITY.name, entries, projects)
        registered = await tools.lookup.register(request_id, projects)
        answers |= {project.native_project_id: answer for project, answer in zip(projects, registered, strict=True)}
    return answers


async def _review(tools: Tools, entry: Entry) -> ActivityId | Refusal:
    """The activity, once no review holds it any more."""
    answer = (await _identify(tools, [entry]))[entry.native_project_id]
    if isinstance(answer, Refusal):
        return answer
    # Its units are settled only afterwards; for this question any number will do.
    refusals = await tools.lookup.check(_wish(replace(entry, activity=answer, units=entry.units or 1)))
    return next((each for each in refusals if each.reason is Reason.IDENTITY_UNDER_REVIEW), answer)


def _unanswered(tools: Tools, error: NativeUnavailable) -> Refusal:
    """The refusal of what could not be read, told in the log too: nothing else shows that the registry hangs."""
    _LOG.warning("registry %s: the native registry does not answer: %s", tools.registry, error)
    return Refusal.of(Reason.NATIVE_REGISTRY_UNAVAILABLE, registry=tools.registry)


async def find_project(tools: Tools, native_project_id: str) -> NativeProject | Refusal:
    """The project as the native registry knows it, or why there is none."""
    try:
        project = await tools.native.get_project(native_project_id)
    except NativeUnavailable as error:
        return _unanswered(tools, error)
    if project is None:
        return Refusal.of(Reason.NATIVE_PROJECT_UNKNOWN, registry=tools.registry, native_project_id=native_project_id)
    return project


@dataclass(frozen=True, slots=True)
class Measured:
    """``quantity`` and ``carried_in`` in base units, as the native registry states them; ``units`` to issue."""

    quantity: int
    carried_in: int
    units: int


async def measure(tools: Tools, native_project_id: str, period: Period, units: int) -> Measured | Refusal:
    """What the native registry measured for exactly this period. ``units`` 0: as many whole units as that makes."""
    try:
        outcome = await tools.native.get_outcome(native_project_id, period)
    except NativeUnavailable as error:
        return _unanswered(tools, error)
    if outcome is not None and outcome.base_unit == tools.instrument.base_unit:
        whole = (outcome.quantity + outcome.carried_in) // tools.instrument.base_units_per_unit
        if units or whole:
            return Measured(outcome.quantity, outcome.carried_in, units or whole)
    return Refusal.of(
        Reason.OUTCOME_NOT_MEASURED, registry=tools.registry, native_project_id=native_project_id, period=period
    )


async def _measure(tools: Tools, entries: Sequence[Entry]) -> list[Measured | Refusal]:
    """Ask the native registry for each entry, and record at the lookup what is a measured outcome."""
    measured = await each(entries, lambda entry: measure(tools, entry.native_project_id, entry.period, entry.units))
    outcomes = {
        index: RecordedOutcome(_activity(entries[index]), entries[index].period, each_one.quantity)
        for index, each_one in enumerate(measured)
        if isinstance(each_one, Measured)
    }
    if outcomes and tools.instrument.measured:
        listed = list(outcomes.values())
        request_id = lookup_request_id(Step.OUTCOME.name, entries, [listed, [entry.waits for entry in entries]])
        recorded = await tools.lookup.record_outcomes(request_id, listed)
        for index, refusal in zip(outcomes, recorded, strict=True):
            if refusal is not None:
                measured[index] = refusal
    return measured


# -- 7. Native issue -------------------------------------------------------------------------------------------------


async def _doubt_what_was_begun_before(work: Work) -> None:
    """Make a doubt of every begun entry that may have been sent by somebody whom this journal does not remember.

    A journal that was restored, or failed over to a copy that lags, stands before what was done already. Begin then
    gave its stored answer. So nothing goes on unless the lock is ISSUING *now* and the reference is not in use.
    """
    entries = work.at_stage(Stage.ISSUING)
    if not entries:
        return
    tools = work.tools
    locks = await tools.lookup.locks([entry.lock for entry in entries])
    unused = await each(entries, lambda entry: _is_unused(tools, entry))
    doubtful = [
        entry
        for entry, lock, is_unused in zip(entries, locks, unused, strict=True)
        if not (is_unused and lock.is_issuing(entry.fencing_token))
    ]
    for entry in doubtful:
        _LOG.error("%s: may have been sent before, which this journal does not show; was it restored?", entry.reference)
    limits = tools.limits
    longest = limits.send_within + limits.native_call + tools.native.capabilities.longest_under_way
    absent_after = await tools.journal.now() + longest
    await work.record(
        [replace(entry, stage=Stage.SENDING, absent_after=absent_after) for entry in doubtful], "perhaps sent before"
    )


async def _is_unused(tools: Tools, entry: Entry) -> bool:
    try:
        return await tools.native.find(entry.reference) is None
    except NativeUnavailable:
        return False


async def _journal_sending(work: Work, entries: Sequence[Entry]) -> tuple[float, list[Entry]]:
    """Make durable that calls may be under way. Gives the last moment to send, by ``elapsed_s``, and what to send."""
    limits, capabilities = work.tools.limits, work.tools.native.capabilities
    asked_s = elapsed_s()
    now = await work.tools.journal.now()
    too_late = now - limits.send_within
    late = [_never_sent(entry) for entry in entries if _begin_time(entry) <= too_late]
    await work.record(late, "too late to send")
    in_time = [entry for entry in entries if _begin_time(entry) > too_late]
    if not in_time:
        return asked_s, []
    last = min(_begin_time(entry) for entry in in_time) + limits.send_within
    # A process that dies from here on may have sent until ``last``, and held on to the call for its full time.
    absent_after = last + limits.native_call + capabilities.longest_under_way
    with at(Step.SEND):
        sending = await work.record(
            [replace(entry, stage=Stage.SENDING, absent_after=absent_after) for entry in in_time], "about to send"
        )
    return asked_s + (last - now).total_seconds(), sending


async def _send(work: Work, chunk: Sequence[Entry], send_until_s: float) -> None:
    """The irrevocable call, for at most ``max_batch`` entries."""
    with at(Step.NATIVE):
        # This process may have been stopped for any time up to here. Nothing may come between checks and call.
        work.lease.check()
        if elapsed_s() >= send_until_s:
            await work.record([_never_sent(entry) for entry in chunk], "too late to send")
            return
        results = await issue(work.tools, chunk)
    now = await work.tools.journal.now()
    absent_after = now + work.tools.native.capabilities.longest_under_way
    await work.record(
        [_after_issue(*pair, absent_after) for pair in zip(chunk, results, strict=True)], "native registry called"
    )


async def issue(tools: Tools, entries: Sequence[Entry]) -> list[NativeResult]:
    """One native call within its time limit. What does not fit its order is unknown, never taken at its word."""
    orders = [
        NativeOrder(entry.reference, entry.fencing_token, entry.native_project_id, entry.period, entry.units)
        for entry in entries
    ]
    try:
        async with asyncio.timeout(tools.limits.native_call.total_seconds()):
            results = await tools.native.issue(orders)
    except TimeoutError:
        return [NativeUnknown("no answer within the adapter's own limit")] * len(orders)
    if len(results) != len(orders):
        return [NativeUnknown(f"{len(results)} results for {len(orders)} orders")] * len(orders)
    return [_checked(entry, result) for entry, result in zip(entries, results, strict=True)]


def _checked(entry: Entry, result: NativeResult) -> NativeResult:
    why = misfit(entry, result) if isinstance(result, NativeIssuance) else None
    if why is None:
        return result
    _LOG.error("%s: the native registry says that it issued, but %s", entry.reference, why)
    return NativeUnknown(why)


def misfit(entry: Entry, found: NativeIssuance) -> str | None:
    """Why a native issuance cannot be committed: not the one that was ordered, or beyond the port's limits."""
    pairs = {
        "reference": (found.external_reference, entry.reference),
        "token": (found.fencing_token, entry.fencing_token),
        "project": (found.native_project_id, entry.native_project_id),
        "period": (found.period, entry.period),
        "units": (found.units, entry.units),
        "units in the serials": (total(found.blocks), entry.units),
    }
    wrong = [f"{name} is {is_} and should be {should}" for name, (is_, should) in pairs.items() if is_ != should]
    if first_overlap(found.blocks) is not None:
        wrong.append("serials overlap")
    wrong += beyond_limits(found)
    return "; ".join(wrong) or None


def _after_issue(entry: Entry, result: NativeResult, absent_after: datetime) -> Entry:
    match result:
        case NativeIssuance():
            return made(entry, result)
        case NativeRefusal():
            # A clear "no" to the only call that was made is proof, lasting or not.
            return native_refused(entry, result)
        case NativeUnknown(detail):
            _LOG.warning("%s: native result unknown: %s", entry.reference, detail)
            return replace(entry, stage=Stage.UNKNOWN, absent_after=absent_after)


def made(entry: Entry, issuance: NativeIssuance) -> Entry:
    """The entry, issued natively."""
    return replace(entry, stage=Stage.MADE, native_issuance_id=issuance.native_issuance_id, blocks=issuance.blocks)


def native_refused(entry: Entry, refusal: NativeRefusal) -> Entry:
    """The entry, refused by the native registry."""
    detail = f"{entry.reference}: refused {refusal.code} {refusal.message}"
    if refusal.lasting:
        told = Refusal.of(Reason.NATIVE_REGISTRY_REFUSED, code=refusal.code, detail=refusal.message)
    else:
        told = Refusal.of(Reason.ISSUANCE_PROVEN_ABSENT, evidence=detail)
    return replace(entry, stage=Stage.ABSENT, evidence=evidence_of(EvidenceKind.NATIVE_REFUSED, detail), refusal=told)


def proven_absent(entry: Entry, kind: EvidenceKind, detail: str) -> Entry:
    """The entry, with a proof that nothing was issued."""
    return replace(
        entry,
        stage=Stage.ABSENT,
        evidence=evidence_of(kind, f"{entry.reference}: {detail}"),
        refusal=Refusal.of(Reason.ISSUANCE_PROVEN_ABSENT, evidence=detail),
    )


def evidence_of(kind: EvidenceKind, detail: str) -> Evidence:
    """Evidence whose text is fit to be kept: one line, at most 1,024 characters, no white space at either end."""
    line = " ".join("".join(c if c.isprintable() else " " for c in detail).split())
    return Evidence(kind, line[:_MAX_EVIDENCE].rstrip())


# -- Small hands -----------------------------------------------------------------------------------------------------


def _never_sent(entry: Entry) -> Entry:
    return proven_absent(entry, EvidenceKind.NEVER_SENT, "the time to send had passed; no native call was made")


async def _apply(
    work: Work,
    entries: Sequence[Entry],
    answers: Sequence[_T | Refusal],
    apply: Callable[[Entry, _T], Entry],
    detail: str,
) -> None:
    """Journal what the answers make of the entries: an answer is applied, a refusal ends an entry or lets it wait.

    Only used before a lock is held, so that an activity that was merged away may be asked for anew.
    """
    refused = any(isinstance(answer, Refusal) for answer in answers)
    may_wait = await work.tools.journal.now() - work.tools.limits.review_wait if refused else None
    changed = []
    for entry, answer in zip(entries, answers, strict=True):
        is_in_time = may_wait is not None and entry.create_time > may_wait
        if not isinstance(answer, Refusal):
            changed.append(apply(entry, answer))
        elif answer.reason is Reason.IDENTITY_UNDER_REVIEW and is_in_time:
            changed += _waiting(entry, answer)
        elif answer.reason is Reason.ACTIVITY_MERGED and is_in_time:
            changed.append(_merged_away(entry))
        elif not (answer.reason is Reason.NATIVE_REGISTRY_UNAVAILABLE and entry.waits and is_in_time):
            # (A native registry that is away just now does not cost an entry the place it has waited for.)
            changed.append(replace(entry, stage=Stage.REFUSED, refusal=answer))
    await work.record(changed, detail)


def _waiting(entry: Entry, review: Refusal) -> list[Entry]:
    """The entry where it waits; empty when it waits for that already."""
    if entry.stage is Stage.UNDER_REVIEW:
        return [] if entry.refusal == review else [replace(entry, refusal=review)]
    _LOG.info("%s: waits: %s", entry.reference, review.error().message_en)
    return [replace(entry.unsettled(Stage.UNDER_REVIEW), refusal=review, attempts=0)]


def _merged_away(entry: Entry) -> Entry:
    """The entry before its identity again: its activity became an alias while it was on its way to the lock."""
    _LOG.info("%s: its activity was merged into another, and is asked for again", entry.reference)
    return entry.unsettled(Stage.ACCEPTED)


def _identified(entry: Entry, activity: ActivityId) -> Entry:
    return replace(entry, stage=Stage.IDENTIFIED, activity=activity, refusal=None, attempts=0)


def _measured(entry: Entry, measured: Measured) -> Entry:
    return replace(entry, stage=Stage.MEASURED, units=measured.units, carried_in=measured.carried_in)


def _held(entry: Entry, grant: Grant) -> Entry:
    return replace(
        entry,
        stage=Stage.HELD,
        lock=grant.lock,
        fencing_token=grant.fencing_token,
        supplement=grant.supplement,
    )


def _wish(entry: Entry) -> LockWish:
    return LockWish(_activity(entry), entry.period, entry.units, entry.carried_in, entry.reference, entry.declaration)


def _grant(entry: Entry) -> Grant:
    return Grant(entry.lock, entry.fencing_token, entry.supplement)


def _activity(entry: Entry) -> ActivityId:
    if entry.activity is None:
        raise JournalFault(f"{entry.reference} has no activity at stage {entry.stage.value}")
    return entry.activity


def _begin_time(entry: Entry) -> datetime:
    if entry.begin_time is None:
        raise JournalFault(f"{entry.reference} has no begin time at stage {entry.stage.value}")
    return entry.begin_time


def _evidence(entry: Entry) -> Evidence:
    if entry.evidence is None:
        raise JournalFault(f"{entry.reference} has no evidence at stage {entry.stage.value}")
    return entry.evidence


def _chunks(entries: Sequence[Entry], size: int) -> list[Sequence[Entry]]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]


async def each(items: Sequence[_T], call: Callable[[_T], Awaitable[_R]], *, at_once: int = _READS_AT_ONCE) -> list[_R]:
    """``call`` for every item, a few at once, answers in order. All run to their end before an error is raised."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: _T) -> _R:
        async with gate:
            return await call(item)

    answers = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]
