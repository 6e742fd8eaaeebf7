"""Client of the green certificate issuing system."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from soleclaim.core.period import Period
from soleclaim.natives.answers import Unclear, check_answers, check_serials, not_civil, readable, refusal, told
from soleclaim.natives.civil import CHINA, month_of_period, period_of_month
from soleclaim.natives.gec.codes import ACTIVITY_TYPES, certificate_block
from soleclaim.natives.json_native import JsonNative
from soleclaim.natives.paging import read_rows
from soleclaim.natives.plants import description_of, project_codes
from soleclaim.natives.settings import NativeSettings
from soleclaim.natives.transport import Fields
from soleclaim.registry.native import (
    AbsenceProof,
    MeasuredOutcome,
    NativeIssuance,
    NativeOrder,
    NativeProject,
    NativeRefusal,
    NativeResult,
    NativeUnknown,
)

MAX_ORDERS: Final = 500
PAGE_SIZE: Final = 200

LASTING: Final[Mapping[str, bool]] = {
    "BAD_REQUEST": True,
    "FILING_NOT_FOUND": False,
    "NOT_MEASURED": False,
    # A reading may still be corrected while nothing is issued on it.
    "EXCEEDS_READING": False,
    "STALE_TOKEN": True,
    "REFERENCE_VOIDED": True,
}
"""The refusals that mean "nothing exists under this reference", and whether they last.

REFERENCE_REUSED is missing on purpose: it says that another order's issuance *does* exist under the reference.
"""


class GecNative(JsonNative):
    """``NativeRegistry`` of the first kind: unique external reference that can be voided.

    ``native_project_id`` is the 17-character filing code.
    """

    def __init__(self, settings: NativeSettings) -> None:
        super().__init__(settings, AbsenceProof.VOID, max_batch=MAX_ORDERS)

    async def _project(self, native_project_id: str) -> NativeProject | None:
        status, answer = await self._http.ask(
            "GET", f"/api/v1/filings/{quote(native_project_id, safe='')}", statuses=frozenset({200, 404})
        )
        # A 404 of some proxy names no filing and is no answer of the registry.
        answer.must_name(filingCode=native_project_id)
        if status == 404:
            answer.must_name(code="FILING_NOT_FOUND")
            return None
        return NativeProject(
            native_project_id=native_project_id,
            name=answer.text("projectName"),
            country="CN",
            activity_type=ACTIVITY_TYPES.get(answer.text("energyType"), "other"),
            time_zone=str(CHINA),
            identifiers=(("gec_filing_code", native_project_id), *project_codes(answer)),
            description=description_of(answer, owner="owner", capacity_mw="capacityMw", region="province"),
        )

    async def _outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:
        """The settled reading of exactly this month, in kWh, and the remainder carried in."""
        month = month_of_period(period, CHINA)
        if month is None:
            return None
        _, answer = await self._http.ask("GET", f"/api/v1/filings/{quote(native_project_id, safe='')}/outcomes/{month}")
        answer.must_name(filingCode=native_project_id, month=month)
        if answer.text("status") == "NOT_MEASURED":
            return None
        answer.must_name(status="MEASURED")
        return MeasuredOutcome(
            native_project_id=native_project_id,
            period=period,
            base_unit="kWh",
            quantity=answer.count("kwh"),
            carried_in=answer.count("carriedInKwh"),
        )

    async def issue(self, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        """One native call for all orders that name a month; the others are refused here and never sent."""
        if len(orders) > MAX_ORDERS or len({order.external_reference for order in orders}) < len(orders):
            raise ValueError(f"a batch holds at most {MAX_ORDERS} orders, each with its own reference")
        months = {order.external_reference: month_of_period(order.period, CHINA) for order in orders}
        body = [
            {
                "filingCode": order.native_project_id,
                "generationMonth": months[order.external_reference],
                "certificates": order.units,
                "externalReference": order.external_reference,
                "fencingToken": order.fencing_token,
            }
            for order in orders
            if months[order.external_reference] is not None
        ]
        try:
            answers: dict[str, list[Fields]] | Unclear = await self._answers(body) if body else {}
        except Unclear as unclear:
            answers = unclear
        return [
            not_civil(order, "one month") if months[order.external_reference] is None else _result(order, answers)
            for order in orders
        ]

    async def _answers(self, orders: Sequence[Mapping[str, object]]) -> dict[str, list[Fields]]:
        """What the registry says about each reference: one answer, when all is well."""
        _, answer = await self._http.ask("POST", "/api/v1/issuances", body={"orders": orders})
        answers: dict[str, list[Fields]] = {str(order["externalReference"]): [] for order in orders}
        for result in answer.objects("results"):
            reference = result.text("externalReference")
            if reference not in answers:
                raise Unclear(f"the answer names reference {reference:.80}, which was not sent")
            answers[reference].append(result)
        return answers

    async def _by_reference(self, external_reference: str) -> NativeIssuance | None:
        """``None`` for a reference never used or voided."""
        _, answer = await self._http.ask("GET", "/api/v1/references", query={"externalReference": external_reference})
        return _standing(answer, external_reference, absent=("NOT_FOUND", "VOIDED"))

    async def void(self, external_reference: str) -> NativeIssuance | None:
        """Tombstone the reference; may be repeated, also after ``NativeUnavailable``."""
        return await told(self._void(external_reference), f"voiding reference {external_reference}")

    async def _void(self, external_reference: str) -> NativeIssuance | None:
        body = {"externalReference": external_reference}
        _, answer = await self._http.ask("POST", "/api/v1/references/void", body=body)
        return _standing(answer, external_reference, absent=("VOIDED",))

    async def _issuances(self, page: int) -> tuple[int, Sequence[NativeIssuance | Unclear]]:
        _, answer = await self._http.ask("GET", "/api/v1/issuances", query={"page": str(page), "size": str(PAGE_SIZE)})
        return answer.count("total"), read_rows(answer.objects("items"), _issuance)


def _result(order: NativeOrder, answers: Mapping[str, Sequence[Fields]] | Unclear) -> NativeResult:
    if isinstance(answers, Unclear):
        return NativeUnknown(f"{order.external_reference}: {answers}")
    try:
        return _answered(order, answers[order.external_reference])
    except Unclear as unclear:
        return NativeUnknown(f"{order.external_reference}: {unclear}")


def _answered(order: NativeOrder, answers: Sequence[Fields]) -> NativeIssuance | NativeRefusal:
    if len(answers) != 1:
        raise Unclear(f"{len(answers)} answers about one order")
    answer = answers[0]
    if answer.text("status") == "REFUSED":
        return refusal(answer.text("code"), answer.text("message"), LASTING)
    answer.must_name(status="ISSUED")
    issuance = _issuance(answer.object("issuance"))
    check_answers(order, issuance)
    return issuance


def _standing(answer: Fields, external_reference: str, *, absent: Sequence[str]) -> NativeIssuance | None:
    """What a reference stands for, by an answer that is about this very reference."""
    answer.must_name(externalReference=external_reference)
    if answer.text("status") in absent:
        return None
    answer.must_name(status="ISSUED")
    row = answer.object("issuance")
    row.must_name(externalReference=external_reference)
    return _issuance(row)


def _issuance(row: Fields) -> NativeIssuance:
    filing_code, month = row.text("filingCode"), row.text("generationMonth")
    issuance = readable(
        lambda: NativeIssuance(
            native_issuance_id=row.text("issuanceNo"),
            external_reference=row.text("externalReference"),
            fencing_token=row.count("fencingToken"),
            native_project_id=filing_code,
            period=period_of_month(month, CHINA),
            units=row.count("certificates"),
            blocks=tuple(
                certificate_block(block, filing_code=filing_code, month=month) for block in row.objects("ranges")
            ),
        )
    )
    check_serials(issuance)
    return issuance
