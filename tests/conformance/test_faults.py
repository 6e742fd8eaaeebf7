"""The kit finds what is wrong, where it is wrong; and finds nothing where nothing is."""

from collections.abc import Mapping

import pytest

from soleclaim.conformance.model import Verdict
from soleclaim.conformance.report import Report, details
from soleclaim.parts.examples import EXAMPLES
from tests.conformance.conftest import PLAYED
from tests.conformance.wrong_adapter import FAULTS

Reports = Mapping[str, Report | BaseException]

ISSUES_NOTHING = ("6.7", "12.4")
"""Cases of a registry that issues nothing."""
BY_CALLS = ("7.2", "7.3", "7.4", "7.5", "7.6", "7.7", "8.2")
"""Cases with a call that fails: where files are exchanged, none is made."""

pytestmark = pytest.mark.timeout(1200)
"""The first of them waits for some twenty runs, each with two processes; a machine that is busy needs many minutes."""


def _report(reports: Reports, name: str) -> Report:
    found = reports[name]
    if isinstance(found, BaseException):
        raise found
    return found


def _numbers(report: Report, verdict: Verdict) -> list[str]:
    return [each.case.number for each in report.results if each.verdict is verdict]


def _told(report: Report) -> str:
    failed = [each for each in report.results if each.verdict is Verdict.FAILED]
    return "\n".join(f"{each.case.number}: {details(each, 'en')}" for each in failed)


@pytest.mark.parametrize("registry", PLAYED)
def test_our_adapters_pass_every_case_that_applies(reports: Reports, registry: str) -> None:
    report = _report(reports, registry)
    assert _numbers(report, Verdict.FAILED) == [], _told(report)
    assert _numbers(report, Verdict.NOT_PLAYED) == []
    skipped = set(_numbers(report, Verdict.SKIPPED))
    if EXAMPLES[registry].desk.issues:
        by_calls = BY_CALLS if EXAMPLES[registry].by_files else ()
        assert skipped == {*ISSUES_NOTHING, *by_calls}
    else:
        assert skipped.isdisjoint(ISSUES_NOTHING)


@pytest.mark.parametrize("fault", FAULTS)
def test_seeded_fault_fails_the_case_made_for_it_and_no_other(reports: Reports, fault: str) -> None:
    report = _report(reports, fault)
    caught_by = FAULTS[fault].caught_by
    assert _numbers(report, Verdict.FAILED) == [caught_by], _told(report)
    category = int(caught_by.partition(".")[0])
    later = [each.case.number for each in report.results if each.case.category > category]
    assert _numbers(report, Verdict.NOT_PLAYED) == later


def test_registry_that_issues_nothing_plays_what_applies(reports: Reports) -> None:
    report = _report(reports, "issues_nothing")
    assert _numbers(report, Verdict.FAILED) == [], _told(report)
    assert {"1.5", "2.1", "6.7", "10.4", "12.4", "12.5"} <= set(_numbers(report, Verdict.PASSED))
    assert {"4.1", "7.1", "8.1"} <= set(_numbers(report, Verdict.SKIPPED))
