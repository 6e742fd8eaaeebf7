"""The report: for people (rows of a table), for programs (JSON), for build servers (JUnit)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from soleclaim.conformance.model import CATEGORIES, Result, Text, Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """A run. ``target``: where the adapter answered."""

    registry: str
    target: str
    results: tuple[Result, ...]

    def counts(self) -> dict[Verdict, int]:
        """How many of each verdict, all verdicts named."""
        counted = Counter(each.verdict for each in self.results)
        return {verdict: counted[verdict] for verdict in Verdict}

    def summary(self) -> Text:
        """One sentence."""
        counts = self.counts()
        en = ", ".join(f"{count} {verdict.value.en}" for verdict, count in counts.items())
        zh = "，".join(f"{verdict.value.zh} {count}" for verdict, count in counts.items())
        return Text(f"{self.registry} at {self.target}: {en}", f"{self.registry}（{self.target}）：{zh}")

    def in_category(self, category: int) -> list[Result]:
        """Its results."""
        return [each for each in self.results if each.case.category == category]

    def as_json(self, language: str) -> dict[str, object]:
        """The whole run as one document."""
        return {
            "registry": self.registry,
            "target": self.target,
            "counts": {verdict.name.lower(): count for verdict, count in self.counts().items()},
            "cases": [
                {
                    "number": each.case.number,
                    "category": CATEGORIES[each.case.category].told(language),
                    "title": each.case.title.told(language),
                    "rule": each.case.rule,
                    "sent": each.case.sent.told(language),
                    "expected": each.case.expected.told(language),
                    "came_back": each.came_back.told(language),
                    "verdict": each.verdict.name.lower(),
                    "elapsed_s": round(each.elapsed_s, 3),
                }
                for each in self.results
            ],
        }

    def as_junit(self, language: str) -> bytes:
        """The run as JUnit XML: a suite per category. What was not played counts as skipped there."""
        root = ET.Element("testsuites", {"name": f"conformance {self.registry}", **_figures(self.results)})
        for category, title in CATEGORIES.items():
            results = self.in_category(category)
            suite = ET.SubElement(
                root, "testsuite", {"name": f"{category} {title.told(language)}", **_figures(results)}
            )
            for each in results:
                _add_case(suite, each, language)
        ET.indent(root)
        document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
        return document + b"\n"


def _figures(results: Sequence[Result]) -> dict[str, str]:
    left_out = (Verdict.SKIPPED, Verdict.NOT_PLAYED)
    return {
        "tests": str(len(results)),
        "failures": str(sum(each.verdict is Verdict.FAILED for each in results)),
        "errors": "0",
        "skipped": str(sum(each.verdict in left_out for each in results)),
        "time": f"{sum(each.elapsed_s for each in results):.3f}",
    }


def _add_case(suite: ET.Element, result: Result, language: str) -> None:
    case = result.case
    element = ET.SubElement(
        suite,
        "testcase",
        name=f"{case.number} {case.title.told(language)}",
        classname=f"conformance.{case.category}",
        time=f"{result.elapsed_s:.3f}",
    )
    came_back = _clean(result.came_back.told(language))
    if result.verdict is Verdict.FAILED:
        failure = ET.SubElement(element, "failure", message=came_back, type=case.number)
        failure.text = _clean(details(result, language))
    elif result.verdict is not Verdict.PASSED:
        message = f"{result.verdict.value.told(language)}: {came_back}"
        ET.SubElement(element, "skipped", message=message)


def details(result: Result, language: str) -> str:
    """All that is known of a case, a line each."""
    case = result.case
    lines = {
        Text("sent", "发送"): case.sent,
        Text("expected", "预期"): case.expected,
        Text("came back", "实际"): result.came_back,
        Text("rule", "依据"): Text(case.rule, case.rule),
    }
    return "\n".join(f"{name.told(language)}: {text.told(language)}" for name, text in lines.items())


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold: a target may answer anything."""
    return "".join(c if c in "\t\n" or c.isprintable() else "�" for c in text)
