"""What the kit is made of: categories, cases, and what became of each."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from soleclaim.conformance.stand import Stand


class Text(NamedTuple):
    """One text in both languages."""

    en: str
    zh: str

    def told(self, language: str) -> str:
        """In ``zh``, else in English."""
        return self.zh if language == "zh" else self.en


CATEGORIES: Final = {
    1: Text("connection and certificates", "连接与证书"),
    2: Text("version and clock", "版本与时钟"),
    3: Text("identity", "身份"),
    4: Text("issuance", "签发"),
    5: Text("repeat and duplicate", "重发与重复"),
    6: Text("refusal", "拒绝"),
    7: Text("time-out and doubt", "超时与存疑"),
    8: Text("recovery after a kill", "被杀后的恢复"),
    9: Text("batch", "批量"),
    10: Text("paging and limits", "分页与限值"),
    11: Text("notices", "通知"),
    12: Text("history", "历史"),
}
"""In the order in which they are played."""


class Need(Enum):
    """What a case needs beyond the target. The value says why it is skipped without."""

    ISSUES = Text("the registry issues nothing", "该登记簿不签发")
    ISSUES_NOTHING = Text("the registry issues", "该登记簿签发")
    NATIVE_RECORDS = Text(
        "no way to see native issuances: the fixture has neither [native] kind nor issuances_url",
        "无法查看原系统的签发：测试设定中既无 [native] kind 也无 issuances_url",
    )
    ANSWER_LOST = Text(
        "no way to cause it: the fixture has no fault answer_lost", "无法制造：测试设定中无故障 answer_lost"
    )
    NOT_DONE = Text("no way to cause it: the fixture has no fault not_done", "无法制造：测试设定中无故障 not_done")
    DONE_LATE = Text("no way to cause it: the fixture has no fault done_late", "无法制造：测试设定中无故障 done_late")
    GARBLED = Text("no way to cause it: the fixture has no fault garbled", "无法制造：测试设定中无故障 garbled")
    SLOW = Text("no way to cause it: the fixture has no fault slow", "无法制造：测试设定中无故障 slow")
    DOWN = Text("no way to cause it: the fixture has no fault down", "无法制造：测试设定中无故障 down")
    RESTART = Text(
        "no way to kill the adapter: the fixture has neither [adapter] start nor kill and restart",
        "无法终止适配器：测试设定中既无 [adapter] start 也无 kill 与 restart",
    )
    LOOKUP_RESTART = Text(
        "no way to kill the lookup: it is not the kit's own, and the fixture has no [lookup]",
        "无法终止查询中心：它并非测试方自有，测试设定中也无 [lookup]",
    )
    PEER = Text("no certificate of another registry was given", "未提供其他登记簿的证书")
    REGULATOR = Text("no certificate of a regulator was given", "未提供监管方证书")


class Verdict(Enum):
    """What became of a case. The value is what is told."""

    PASSED = Text("passed", "通过")
    FAILED = Text("failed", "未通过")
    SKIPPED = Text("skipped", "跳过")
    NOT_PLAYED = Text("not played", "未执行")


class Failed(Exception):
    """The target did not do what the case says; the text says what came back instead."""

    def __init__(self, en: str, zh: str) -> None:
        self.text = Text(en, zh)
        super().__init__(en)


class Skipped(Exception):
    """The case cannot be played here; the text says why."""

    def __init__(self, en: str, zh: str) -> None:
        self.text = Text(en, zh)
        super().__init__(en)


Play = Callable[["Stand"], Awaitable[Text]]
"""Plays a case; gives what came back, raises ``Failed`` or ``Skipped``."""


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario. ``rule``: a requirement (``R84``) or a place in the design or the API."""

    number: str
    title: Text
    rule: str
    sent: Text
    expected: Text
    needs: tuple[Need, ...]
    play: Play

    @property
    def category(self) -> int:
        """Number of its category."""
        return int(self.number.partition(".")[0])


def case(
    number: str, title: Text, *, rule: str, sent: Text, expected: Text, needs: Sequence[Need] = ()
) -> Callable[[Play], Case]:
    """Make a function the play of a case."""
    return lambda play: Case(number, title, rule, sent, expected, tuple(needs), play)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case; ``came_back`` also holds the reason why it was skipped or not played."""

    case: Case
    verdict: Verdict
    came_back: Text
    elapsed_s: float = 0.0
