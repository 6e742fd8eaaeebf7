"""The report holds every case, in both languages, for people, programs and build servers; the cases are well formed."""

import itertools
from importlib import resources
from xml.etree import ElementTree as ET

import pytest

from soleclaim.conformance.cases import CASES
from soleclaim.conformance.model import CATEGORIES, Result, Text, Verdict
from soleclaim.conformance.report import Report, details

VERDICTS = itertools.cycle((Verdict.PASSED, Verdict.FAILED, Verdict.SKIPPED, Verdict.NOT_PLAYED))


@pytest.fixture
def report() -> Report:
    """One of each verdict in turn; what came back is what XML cannot hold as it is."""
    came_back = Text('answered <"&\x00\x1b', '应答 <"&\x00\ud800')
    return Report("ccer", "127.0.0.1:7401", tuple(Result(case, next(VERDICTS), came_back, 0.5) for case in CASES))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_junit_is_valid_and_counts_every_case(report: Report, language: str) -> None:
    root = ET.fromstring(report.as_junit(language))  # noqa: S314  our own document
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == [f"{n} {text.told(language)}" for n, text in CATEGORIES.items()]
    for element in (root, *suites):
        assert int(element.get("tests", "")) == len(list(element.iter("testcase")))
        assert int(element.get("failures", "")) == len(list(element.iter("failure")))
        assert int(element.get("skipped", "")) == len(list(element.iter("skipped")))
    assert len(list(root.iter("testcase"))) == len(CASES)
    assert len(list(root.iter("failure"))) == report.counts()[Verdict.FAILED]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_json_tells_everything_about_every_case(report: Report, language: str) -> None:
    document = report.as_json(language)
    cases = document["cases"]
    assert isinstance(cases, list)
    assert [each["number"] for each in cases] == [case.number for case in CASES]
    assert all(each[key] for each in cases for key in ("title", "category", "rule", "sent", "expected", "came_back"))
    assert document["counts"] == {verdict.name.lower(): count for verdict, count in report.counts().items()}


def test_details_name_what_was_sent_expected_and_came_back(report: Report) -> None:
    result = report.results[0]
    told = details(result, "zh")
    assert all(text in told for text in (result.case.sent.zh, result.case.expected.zh, result.case.rule, "应答"))


def test_cases_are_numbered_in_the_order_of_their_categories() -> None:
    numbers = [tuple(map(int, case.number.split("."))) for case in CASES]
    assert numbers == sorted(set(numbers))
    for category in CATEGORIES:
        within = [second for first, second in numbers if first == category]
        assert within == list(range(1, len(within) + 1))
        assert 3 <= len(within) <= 7


def test_readme_tells_how_many_scenarios_there_are() -> None:
    readme = resources.files("soleclaim.conformance") / "README.md"
    assert f"plays {len(CASES)} scenarios" in readme.read_text(encoding="utf-8")


def test_every_text_has_both_languages() -> None:
    for case in CASES:
        for text in (case.title, case.sent, case.expected):
            assert text.en.strip()
            assert text.zh.strip()
        assert case.title.en != case.title.zh
