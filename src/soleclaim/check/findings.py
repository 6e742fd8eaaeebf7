"""What a check saw: how much it looked at, what is violated, what it could not look at."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

MAX_LISTED: Final = 10_000
"""Violations kept with their text; all are counted."""

INVARIANTS: Final = {
    "I1": ("no two live locks share activity, attribute, instant and slice", "同一成果不得有两个有效签发锁"),
    "I2": ("every native issuance has exactly one lock, and the reverse", "原登记簿签发与签发锁一一对应"),
    "I3": ("serial blocks never overlap and count rightly", "序列号区段不重叠且数量正确"),
    "I4": ("every block stands under one issuance of its registry", "每个区段只属于本登记簿的一笔签发"),
    "I6": ("units issued do not exceed the measured outcome", "签发量不超过计量成果"),
    "I7": ("tokens rise; a stale one moves nothing", "令牌递增，过期令牌无效"),
    "I10": ("a repeated request gets the first answer", "重复请求得到首次应答"),
}


NOUNS_ZH: Final = {
    "activities": "减排活动",
    "live segments": "有效区段",
    "locks": "签发锁",
    "native issuances": "原登记簿签发",
    "committed issuances": "已提交签发",
    "grants being issued": "签发中的授予",
    "blocks": "单位区段",
    "certificates moved": "绿证转移区段",
    "series": "序列",
    "issuances": "签发",
    "outcomes": "减排成果",
    "outcomes in dispute": "存在争议的成果",
    "disputes": "争议",
    "disputed blocks": "存在争议的区段",
    "imported issuances": "导入的签发",
    "issuances without known serials": "序列号未知的签发",
    "locks within an outcome": "有计量成果的签发锁",
    "locks without a recorded outcome": "无计量成果的签发锁",
    "remainders carried in": "结转余量",
    "history entries": "历史记录",
    "grants": "授予",
    "native records": "原登记簿记录",
    "requests at the lookup": "查询中心的请求",
    "requests at adapters": "适配器的请求",
    "locks named in answers": "应答所列签发锁",
    "journal entries": "日志条目",
}
"""What is looked at, for people; JSON keeps the English names."""


class Kind(NamedTuple):
    """One way in which an invariant can be broken. The texts are formats over the violation's variables."""

    invariant: str
    english: str
    chinese: str


KINDS: Final = {
    "LOCKS_OVERLAP": Kind(
        "I1",
        "{activity}: locks {lock} and {other} both claim {period}; find out which native issuance is to be cancelled",
        "{activity}：签发锁 {lock} 与 {other} 同时主张 {period}；请确定应注销哪一笔签发",
    ),
    "GRANTED_WHILE_CLAIMED": Kind(
        "I1",
        "{activity}: history shows lock {lock} granted over {period} while lock {other} was alive",
        "{activity}：历史显示签发锁 {lock} 在 {other} 有效期间就 {period} 授予",
    ),
    "LOCK_NOT_COVERED": Kind(
        "I1",
        "{activity}: lock {lock} is {state} but no live segment covers {period}: another registry could take it",
        "{activity}：签发锁 {lock} 状态为 {state}，但没有有效区段覆盖 {period}，其他登记簿可能取得",
    ),
    "SEGMENT_WITHOUT_LOCK": Kind(
        "I1",
        "{activity}: a live segment over {period} belongs to lock {lock}, which is {state}",
        "{activity}：{period} 的有效区段属于签发锁 {lock}，其状态为 {state}",
    ),
    "ISSUED_WITHOUT_LOCK": Kind(
        "I2",
        "{registry}: native issuance {native} (reference {reference}, {units} units, {period}) has no lock in ISSUING"
        " or ISSUED; {hint}",
        "{registry}：签发 {native}（外部参考号 {reference}，{units} 单位，{period}）没有签发中或已签发的锁；{hint}",
    ),
    "ISSUED_TWICE": Kind(
        "I2",
        "{registry}: reference {reference} stands on {count} native issuances: {native}; cancel all but the committed",
        "{registry}：外部参考号 {reference} 对应 {count} 笔签发：{native}；请仅保留已提交的一笔",
    ),
    "REFERENCE_ON_TWO_LOCKS": Kind(
        "I2",
        "{registry}: reference {reference} stands on several grants: locks {lock}",
        "{registry}：外部参考号 {reference} 出现在多个授予上：签发锁 {lock}",
    ),
    "NOT_IN_NATIVE_REGISTRY": Kind(
        "I2",
        "{registry}: lock {lock} carries committed issuance {native} (reference {reference}), unknown natively",
        "{registry}：签发锁 {lock} 已提交签发 {native}（外部参考号 {reference}），原登记簿中不存在",
    ),
    "DIFFERS_FROM_NATIVE": Kind(
        "I2",
        "{registry}: lock {lock}, reference {reference}: {field} is {ours} here and {theirs} natively",
        "{registry}：签发锁 {lock}，外部参考号 {reference}：{field} 此处为 {ours}，原登记簿为 {theirs}",
    ),
    "BLOCKS_OVERLAP": Kind(
        "I3",
        "{registry} series {series}: {start}-{end} of lock {lock} overlaps serials up to {before} of lock {other}",
        "{registry} 序列 {series}：签发锁 {lock} 的 {start}-{end} 与签发锁 {other} 至 {before} 的序列号重叠",
    ),
    "BLOCK_REVERSED": Kind(
        "I3",
        "{registry} series {series}: block {start}-{end} of lock {lock} ends before it starts",
        "{registry} 序列 {series}：签发锁 {lock} 的区段 {start}-{end} 起止颠倒",
    ),
    "BLOCKS_COUNT_WRONG": Kind(
        "I3",
        "{registry}: issuance {native} under lock {lock} has {units} units, its blocks hold {counted}",
        "{registry}：签发锁 {lock} 下的签发 {native} 为 {units} 单位，区段合计 {counted}",
    ),
    "MOVED_TWICE": Kind(
        "I3",
        "{registry}: settlement {line} moves certificate {start} of {series}, which {other} moves too; find out which"
        " of the two is right and have the other corrected",
        "{registry}：结算记录 {line} 与 {other} 均转移了 {series} 的绿证 {start}；请查明何者正确，并更正另一条",
    ),
    "MOVED_WRONGLY": Kind(
        "I3",
        "{registry}: settlement {line} counts as settled and moves nothing, or the reverse; have it recorded again",
        "{registry}：结算记录 {line} 的状态与其绿证转移不一致；请重新记录",
    ),
    "MOVED_UNISSUED": Kind(
        "I3",
        "{registry}: settlement {line} moves certificates {start} to {end} of {series}, which the ledger does not hold",
        "{registry}：结算记录 {line} 转移的 {series} 绿证 {start} 至 {end} 不在台账中",
    ),
    "SERIALS_NOT_IN_DISPUTE": Kind(
        "I3",
        "{registry} series {series}: {start}-{end} of lock {lock} is kept as disputed, but no dispute names it",
        "{registry} 序列 {series}：签发锁 {lock} 的 {start}-{end} 记为有争议，但没有相应争议",
    ),
    "BLOCK_WITHOUT_ISSUANCE": Kind(
        "I4",
        "{registry} series {series}: block {start}-{end} names lock {lock} and token {token}, where nothing is issued",
        "{registry} 序列 {series}：区段 {start}-{end} 指向签发锁 {lock} 与令牌 {token}，该处没有签发",
    ),
    "ISSUANCE_WITHOUT_LOCK": Kind(
        "I4",
        "{registry}: issuance {native} names lock {lock}, which is {state} and of registry {other}",
        "{registry}：签发 {native} 指向签发锁 {lock}，其状态为 {state}，属登记簿 {other}",
    ),
    "LEDGER_SUM_WRONG": Kind(
        "I4",
        "{activity}: lock {lock} says {count} issuances with {units} units, the ledger {counted} with {summed}",
        "{activity}：签发锁 {lock} 记为 {count} 笔 {units} 单位，台账为 {counted} 笔 {summed} 单位",
    ),
    "MORE_THAN_MEASURED": Kind(
        "I6",
        "{activity}: {used} {base_unit} issued for {period}, {quantity} measured, {carried} carried in; locks {lock}",
        "{activity}：{period} 签发 {used} {base_unit}，计量 {quantity}，结转 {carried}；签发锁 {lock}",
    ),
    "CARRIED_TOO_MUCH": Kind(
        "I6",
        "{activity}: lock {lock} carried {carried} {base_unit} into {period}, {left} remained in the period before",
        "{activity}：签发锁 {lock} 向 {period} 结转 {carried} {base_unit}，前一期间仅余 {left}",
    ),
    "TOKEN_NOT_RISING": Kind(
        "I7",
        "{activity}: lock {lock} was granted token {token} after token {other}",
        "{activity}：签发锁 {lock} 在令牌 {other} 之后被授予令牌 {token}",
    ),
    "STEP_WITHOUT_GRANT": Kind(
        "I7",
        "{activity}: lock {lock}, entry {entry} ({step}, token {token}) does not follow from {state}, token {other}",
        "{activity}：签发锁 {lock} 的历史 {entry}（{step}，令牌 {token}）不能由 {state}、令牌 {other} 得出",
    ),
    "STATE_NOT_IN_HISTORY": Kind(
        "I7",
        "{activity}: lock {lock} is {state} with token {token}; its history ends in {told} with token {other}",
        "{activity}：签发锁 {lock} 状态为 {state}、令牌 {token}；其历史止于 {told}、令牌 {other}",
    ),
    "LOCK_MOVED_SILENTLY": Kind(
        "I7",
        "{activity}: lock {lock} stands here, and its history ends on activity key {other}",
        "{activity}：签发锁 {lock} 在此，而其历史止于活动键 {other}",
    ),
    "TOKEN_DIFFERS_NATIVELY": Kind(
        "I7",
        "{registry}: lock {lock}, reference {reference}: granted token {ours}, native record {theirs}",
        "{registry}：签发锁 {lock}，外部参考号 {reference}：授予令牌 {ours}，原登记簿记为 {theirs}",
    ),
    "ANSWER_MISSING": Kind(
        "I10",
        "request {request} of {caller} ({method}) is stored without an answer that can be read",
        "{caller} 的请求 {request}（{method}）没有可读的已存应答",
    ),
    "REQUEST_TWICE": Kind(
        "I10",
        "request {request} of {caller} is stored {count} times in {store}",
        "{caller} 的请求 {request} 在 {store} 中存储了 {count} 次",
    ),
    "ANSWER_DIFFERS": Kind(
        "I10",
        "request {request} of {caller} ({method}) was answered with lock {lock}, {field} {theirs}; it has {ours}",
        "{caller} 的请求 {request}（{method}）的应答为签发锁 {lock}，{field} {theirs}；实际为 {ours}",
    ),
    "ANSWERED_OTHERWISE": Kind(
        "I10",
        "{registry}: the adapter's answer for reference {reference} is {stage}, while {fact}",
        "{registry}：适配器对外部参考号 {reference} 的应答为 {stage}，而 {fact}",
    ),
    "ANSWER_CHANGED": Kind(
        "I10",
        "{registry}: journal entry {entry} was answered {first} and now says {stage}",
        "{registry}：日志条目 {entry} 曾应答 {first}，现为 {stage}",
    ),
    "NOT_IN_JOURNAL": Kind(
        "I10",
        "{registry}: reference {reference} (lock {lock}, native issuance {native}) is in no entry of the journal",
        "{registry}：外部参考号 {reference}（签发锁 {lock}，签发 {native}）不在日志中",
    ),
}
"""Every violation there can be."""


FACTS: Final = {
    "ISSUED_INSIDE_BOUNDARY": (
        "{activity}: lock {lock} of {registry} issued {instrument} over {period} inside a boundary that {covering}"
        " states for {covered} ({boundary}; recorded {stated}; rule {rule}); settle whether the issuance stands",
        "{activity}：{registry} 的签发锁 {lock} 就 {period} 签发的 {instrument} 位于 {covering} 所述 {covered} 的边界内"
        "（{boundary}；记录于 {stated}；规则 {rule}）；请裁定该签发是否有效",
    ),
    "SETTLEMENTS_CONTRADICT": (
        "settlement {line} of {registry} moves certificates that {other} of {other_registry} moved before; ask both"
        " which stands, and have the other corrected",
        "{registry} 的结算记录 {line} 所转移的绿证已由 {other_registry} 的 {other} 转移；"
        "请双方查明何者有效，并更正另一条",
    ),
}
"""What breaks no invariant and a person must settle all the same, in English and Chinese."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One of ``FACTS``, with enough to act on."""

    kind: str
    variables: dict[str, str]

    def told(self, language: str) -> str:
        """The sentence for people, ``en`` or ``zh``."""
        return FACTS[self.kind][language == "zh"].format(**self.variables)


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken invariant, with enough to act on."""

    kind: str
    variables: dict[str, str]

    @property
    def invariant(self) -> str:
        """``I1`` …"""
        return KINDS[self.kind].invariant

    def told(self, language: str) -> str:
        """The sentence for people, ``en`` or ``zh``."""
        kind = KINDS[self.kind]
        return (kind.chinese if language == "zh" else kind.english).format(**self.variables)


class CannotLook(Exception):
    """A store or registry cannot be read; nothing is known about it. ``args[0]`` says which and why."""


@dataclass(slots=True)
class Findings:
    """Filled by the parts of the check as they go."""

    looked_at: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in INVARIANTS})
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Violations by invariant, listed or not."""
    not_looked: list[str] = field(default_factory=list)
    """What was out of reach: never to be read as "no violations"."""
    facts: list[Fact] = field(default_factory=list)
    """At most ``MAX_LISTED``."""
    fact_count: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)
    """What a reader must know of the scope, in English and Chinese."""

    def saw(self, invariant: str, what: str, count: int = 1) -> None:
        """Count what was looked at."""
        self.looked_at[invariant][what] += count

    def violated(self, kind: str, **variables: object) -> None:
        """Note a violation."""
        violation = Violation(kind, {name: str(value) for name, value in variables.items()})
        self.counts[violation.invariant] += 1
        if len(self.violations) < MAX_LISTED:
            self.violations.append(violation)

    def told_fact(self, kind: str, **variables: object) -> None:
        """Note what a person must settle."""
        self.fact_count += 1
        if len(self.facts) < MAX_LISTED:
            self.facts.append(Fact(kind, {name: str(value) for name, value in variables.items()}))

    @property
    def violation_count(self) -> int:
        """How many in all."""
        return self.counts.total()

    def as_json(self, language: str) -> dict[str, object]:
        """The whole result as one document."""
        return {
            "violations": self.violation_count,
            "complete": not self.not_looked,
            "invariants": {
                name: {"violations": self.counts[name], "looked_at": dict(self.looked_at[name])} for name in INVARIANTS
            },
            "found": [
                {"invariant": each.invariant, "kind": each.kind, "message": each.told(language), **each.variables}
                for each in self.violations
            ],
            "facts": [{"kind": each.kind, "message": each.told(language), **each.variables} for each in self.facts],
            "not_looked": self.not_looked,
            "notes": [note[language == "zh"] for note in self.notes],
        }
