"""The book behind the younger stand-ins."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from soleclaim.sandbox.fields import Refused
from soleclaim.sandbox.ledger import Ledger, NewResult, Order

ORDER = Order("P1", "2024-01-01", "2024-12-31", 60, "lock-1:5", 5)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    book = Ledger(tmp_path / "book.db", "X-{project}-{year}")
    book.add_projects([("P1", {"kind": "X", "name": "一期"}), ("P2", {"kind": "X"})])
    book.add_results([NewResult("P1", "2024-01-01", "2024-12-31", 100, {"tce": "100"})])
    yield book
    book.close()


def test_an_order_that_comes_again_is_the_first_issuance(ledger: Ledger) -> None:
    first = ledger.issue(ORDER)
    assert (first.series, first.first_serial, first.last_serial) == ("X-P1-2024", 1, 60)
    assert ledger.issue(ORDER) == first
    assert ledger.issuances() == [first]


def test_serials_of_a_series_run_on(ledger: Ledger) -> None:
    ledger.issue(ORDER)
    second = ledger.issue(replace(ORDER, units=40, reference="lock-1:6", token=6))
    assert (second.first_serial, second.last_serial) == (61, 100)


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (replace(ORDER, units=41, reference="lock-1:6", token=6), "EXCEEDS_RESULT"),
        (replace(ORDER, units=1), "REFERENCE_REUSED"),
        (replace(ORDER, units=1, reference="lock-1:4", token=4), "STALE_TOKEN"),
        (replace(ORDER, project="P2", reference="other"), "NOT_MEASURED"),
        (replace(ORDER, project="P3", reference="other"), "PROJECT_NOT_FOUND"),
    ],
)
def test_what_the_rules_forbid_leaves_nothing_behind(ledger: Ledger, order: Order, code: str) -> None:
    ledger.issue(ORDER)
    with pytest.raises(Refused) as refused:
        ledger.issue(order)
    assert refused.value.code == code
    assert ledger.issuance_count() == 1


def test_a_result_that_is_issued_on_is_not_corrected(ledger: Ledger) -> None:
    ledger.add_results([NewResult("P1", "2024-01-01", "2024-12-31", 90, {})])
    ledger.issue(ORDER)
    with pytest.raises(Refused, match="is issued on"):
        ledger.add_results([NewResult("P1", "2024-01-01", "2024-12-31", 100, {})])


def test_a_statement_of_who_is_inside_is_corrected_by_another_only(ledger: Ledger) -> None:
    ledger.add_membership("M1", {"name": "电厂"}, None)
    ledger.add_membership("M1", {"name": "电厂"}, None)
    with pytest.raises(Refused, match="correct it by a new entry"):
        ledger.add_membership("M1", {"name": "别厂"}, None)
    ledger.add_membership("M2", {"name": "别厂"}, "M1")
    assert [entry[1:] for entry in ledger.memberships()] == [
        ("M1", None, {"name": "电厂"}),
        ("M2", "M1", {"name": "别厂"}),
    ]
