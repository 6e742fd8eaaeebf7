"""The CCER adapter made wrong on purpose: ``wrong_adapter.py FAULT adapter serve …`` runs it with one seeded fault.

``FAULTS`` names for each the one case that must fail. ``VARIANTS`` are adapters that are right in another way.
"""

import itertools
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.cmd.main import main
from soleclaim.core.identity import Caller
from soleclaim.core.period import Period
from soleclaim.natives.ccer import client as ccer
from soleclaim.natives.civil import days_of_period
from soleclaim.registry import domain, recovery, sql_journal, workflow
from soleclaim.registry.domain import FINAL, Entry, Request, Stage
from soleclaim.registry.grpc import service
from soleclaim.registry.grpc.convert import to_issuance
from soleclaim.registry.journal import Accepted, Lease
from soleclaim.registry.native import (
    NativeIssuance,
    NativeOrder,
    NativeProject,
    NativeResult,
    NativeUnavailable,
    NativeUnknown,
)
from soleclaim.rpc.caller import Context, caller_of

Native = ccer.CcerNative
Servicer = service.RegistryServicer


def put(owner: object, **wrong: Any) -> None:
    """Put what is wrong in the place of what is right."""
    for name, value in wrong.items():
        setattr(owner, name, value)


def wrong_caller_accepted() -> None:
    """Another registry may ask for issuances here."""
    lenient: ContextVar[bool] = ContextVar("lenient", default=False)
    own, ask = Servicer._own, Servicer.RequestIssuance

    def anybody(self: Servicer, context: Context) -> Caller:
        return caller_of(context) if lenient.get() else own(self, context)

    async def request(self: Servicer, asked: pb.RequestIssuanceRequest, context: Context) -> pb.Issuance:
        lenient.set(True)
        return await ask(self, asked, context)

    put(Servicer, _own=anybody)
    put(Servicer, RequestIssuance=request)


def range_off_by_one() -> None:
    """The last serial is told as one past the last."""
    told = to_issuance

    def wrong(entry: Entry, instrument: str) -> pb.Issuance:
        issuance = told(entry, instrument)
        for block in issuance.blocks:
            block.end += 1
        return issuance

    put(service, to_issuance=wrong)


def reference_lost() -> None:
    """The native record gets a reference of its own."""
    issue, numbers = Native.issue, itertools.count()

    async def wrong(self: Native, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        others = [replace(order, external_reference=f"lost-{next(numbers)}") for order in orders]
        results = await issue(self, others)
        return [
            replace(result, external_reference=order.external_reference)
            if isinstance(result, NativeIssuance)
            else result
            for order, result in zip(orders, results, strict=True)
        ]

    put(Native, issue=wrong)


def utc_months() -> None:
    """Whole days in UTC are taken for the civil days of the same dates."""

    def wrong(period: Period, zone: ZoneInfo) -> tuple[date, date] | None:
        return days_of_period(period, zone) or days_of_period(period, ZoneInfo("UTC"))

    issue = Native.issue

    async def as_ordered(self: Native, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        results = await issue(self, orders)
        return [
            replace(result, period=order.period) if isinstance(result, NativeIssuance) else result
            for order, result in zip(orders, results, strict=True)
        ]

    put(ccer, days_of_period=wrong)
    put(ccer, check_answers=lambda _order, _issuance: None)
    put(Native, issue=as_ordered)


def repeat_issues_anew() -> None:
    """A request that is done is forgotten: the same again is a new one."""
    accept = sql_journal.SqlJournal.accept

    async def wrong(self: sql_journal.SqlJournal, lease: Lease, request: Request) -> Accepted:
        accepted = await accept(self, lease, request)
        entries = await self.read_batch(accepted.batch_id)
        if accepted.is_new or not all(entry.stage in FINAL for entry in entries):
            return accepted
        return await accept(self, lease, replace(request, request_id=f"{request.request_id}-again"))

    put(sql_journal.SqlJournal, accept=wrong)


def payload_ignored() -> None:
    """Only the request id is looked at."""
    put(sql_journal, refuse_reused_request_id=lambda _request, _stored_hash: None)


def reissued_after_timeout() -> None:
    """A call that timed out is made again, once in the life of the process."""
    issue, left = Native.issue, [True]

    async def wrong(self: Native, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        results = await issue(self, orders)
        if any(isinstance(each, NativeUnknown) and "no answer" in each.detail for each in results) and left:
            left.clear()
            return await issue(self, orders)
        return results

    put(Native, issue=wrong)


def down_is_not_found() -> None:
    """A project that could not be asked for is said not to exist."""
    get_project = Native.get_project

    async def wrong(self: Native, native_project_id: str) -> NativeProject | None:
        try:
            return await get_project(self, native_project_id)
        except NativeUnavailable:
            return None

    put(Native, get_project=wrong)


def issued_before_commit() -> None:
    """What is issued natively is told as ISSUED, whether the lookup knows or not."""
    domain._STATES[Stage.MADE] = domain.IssuanceState.ISSUED


def sent_again_after_a_kill() -> None:
    """After a restart, what may have been sent is sent again."""
    settle = recovery.settle

    async def wrong(tools: workflow.Tools, lease: Lease, entry: Entry) -> Entry:
        if entry.stage is Stage.SENDING:
            (result,) = await workflow.issue(tools, [entry])
            if isinstance(result, NativeIssuance):
                return workflow.made(entry, result)
        return await settle(tools, lease, entry)

    put(recovery, settle=wrong)


def rows_lost() -> None:
    """The last row of every page but the last is missing."""
    page = Servicer.ListIssuances

    async def wrong(self: Servicer, request: pb.ListIssuancesRequest, context: Context) -> pb.ListIssuancesResponse:
        answer = await page(self, request, context)
        if answer.next_page_token:
            del answer.issuances[-1]
        return answer

    put(Servicer, ListIssuances=wrong)


def project_told_to_others() -> None:
    """Other registries learn for which project was issued."""
    found = Servicer._found

    def wrong(self: Servicer, entry: Entry) -> Any:
        told = found(self, entry)
        return replace(told, instrument=f"{told.instrument} {entry.native_project_id}")

    put(Servicer, _found=wrong)


def issues_nothing() -> None:
    """A registry that takes part and issues nothing."""
    able = Native.capabilities
    put(Native, capabilities=property(lambda self: replace(able.__get__(self), issues=False)))


@dataclass(frozen=True)
class Seeded:
    """A fault and the number of the case that is made for it."""

    plant: Callable[[], None]
    caught_by: str


FAULTS = {
    seeded.plant.__name__: seeded
    for seeded in (
        Seeded(wrong_caller_accepted, "1.5"),
        Seeded(range_off_by_one, "4.2"),
        Seeded(reference_lost, "4.4"),
        Seeded(utc_months, "4.5"),
        Seeded(repeat_issues_anew, "5.1"),
        Seeded(payload_ignored, "5.2"),
        Seeded(reissued_after_timeout, "7.1"),
        Seeded(down_is_not_found, "7.3"),
        Seeded(issued_before_commit, "7.7"),
        Seeded(sent_again_after_a_kill, "8.1"),
        Seeded(rows_lost, "10.1"),
        Seeded(project_told_to_others, "12.2"),
    )
}
VARIANTS = {issues_nothing.__name__: issues_nothing}


if __name__ == "__main__":
    name = sys.argv.pop(1)
    (VARIANTS.get(name) or FAULTS[name].plant)()
    main()
