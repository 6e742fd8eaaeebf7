"""The one table of refusals: reason, gRPC status, message and remedy in English and Chinese (design section 7).

Domain code raises ``DomainError`` with a reason and the variables of its message; the transport translates
once, by this table. Any other exception is a bug and reaches no client as text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final


class Reason(Enum):
    """Machine-readable reason of a refusal; the value is what ``ErrorInfo.reason`` carries."""

    INVALID_REQUEST = "INVALID_REQUEST"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    ROLE_NOT_ALLOWED = "ROLE_NOT_ALLOWED"
    REGISTRY_NOT_YOURS = "REGISTRY_NOT_YOURS"
    LOCK_NOT_YOURS = "LOCK_NOT_YOURS"
    ACTIVITY_UNKNOWN = "ACTIVITY_UNKNOWN"
    ACTIVITY_NOT_REGISTERED = "ACTIVITY_NOT_REGISTERED"
    LOCK_UNKNOWN = "LOCK_UNKNOWN"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    REGISTRY_UNKNOWN = "REGISTRY_UNKNOWN"
    ISSUANCE_UNKNOWN = "ISSUANCE_UNKNOWN"
    NATIVE_PROJECT_UNKNOWN = "NATIVE_PROJECT_UNKNOWN"
    REGISTRY_ISSUES_NOTHING = "REGISTRY_ISSUES_NOTHING"
    IDENTITY_UNDER_REVIEW = "IDENTITY_UNDER_REVIEW"
    REVIEW_CASE_UNKNOWN = "REVIEW_CASE_UNKNOWN"
    REVIEW_CASE_DECIDED = "REVIEW_CASE_DECIDED"
    REVIEW_ACTIVITY_NO_CANDIDATE = "REVIEW_ACTIVITY_NO_CANDIDATE"
    REVIEW_PROJECT_STANDS = "REVIEW_PROJECT_STANDS"
    REVIEW_CASE_CHANGED = "REVIEW_CASE_CHANGED"
    REVIEW_CASE_NEWER = "REVIEW_CASE_NEWER"
    REVIEW_NOTHING_PROPOSED = "REVIEW_NOTHING_PROPOSED"
    REVIEW_SECOND_PERSON_NEEDED = "REVIEW_SECOND_PERSON_NEEDED"
    ACTIVITY_PART_OF_ITSELF = "ACTIVITY_PART_OF_ITSELF"
    ACTIVITY_MERGED = "ACTIVITY_MERGED"
    MERGE_BREAKS_EXCLUSION = "MERGE_BREAKS_EXCLUSION"
    MERGE_LOCKS_UNDER_WAY = "MERGE_LOCKS_UNDER_WAY"
    MERGE_OUTCOMES_DIFFER = "MERGE_OUTCOMES_DIFFER"
    MERGE_EXCEEDS_MEASURED = "MERGE_EXCEEDS_MEASURED"
    REVIEW_CASE_OPEN = "REVIEW_CASE_OPEN"
    REVIEW_SAME_STANDS = "REVIEW_SAME_STANDS"
    SPLIT_UNKNOWN = "SPLIT_UNKNOWN"
    SPLIT_NOT_WAITING = "SPLIT_NOT_WAITING"
    SPLIT_SECOND_PERSON_NEEDED = "SPLIT_SECOND_PERSON_NEEDED"
    SPLIT_CHANGED = "SPLIT_CHANGED"
    SPLIT_NOT_AN_ALIAS = "SPLIT_NOT_AN_ALIAS"
    SPLIT_NOT_THERE = "SPLIT_NOT_THERE"
    SPLIT_NOTHING_MOVES = "SPLIT_NOTHING_MOVES"
    SPLIT_NOTHING_STAYS = "SPLIT_NOTHING_STAYS"
    SPLIT_LOCK_UNDER_WAY = "SPLIT_LOCK_UNDER_WAY"
    SPLIT_LOCK_WITHOUT_PROJECT = "SPLIT_LOCK_WITHOUT_PROJECT"
    SPLIT_EXCEEDS_MEASURED = "SPLIT_EXCEEDS_MEASURED"
    COVERAGE_UNKNOWN = "COVERAGE_UNKNOWN"
    COVERAGE_STATEMENT_DIFFERS = "COVERAGE_STATEMENT_DIFFERS"
    SETTLEMENT_UNKNOWN = "SETTLEMENT_UNKNOWN"
    SETTLEMENT_DIFFERS = "SETTLEMENT_DIFFERS"
    OUTCOME_DISPUTED = "OUTCOME_DISPUTED"
    ISSUANCE_DIFFERS = "ISSUANCE_DIFFERS"
    ISSUANCE_UNDER_WAY = "ISSUANCE_UNDER_WAY"
    DISPUTE_UNKNOWN = "DISPUTE_UNKNOWN"
    DISPUTE_STATE_WRONG = "DISPUTE_STATE_WRONG"
    DISPUTE_OUTCOME_NOT_POSSIBLE = "DISPUTE_OUTCOME_NOT_POSSIBLE"
    DISPUTE_LOCK_UNDER_WAY = "DISPUTE_LOCK_UNDER_WAY"
    DISPUTE_SIDE_ENDED = "DISPUTE_SIDE_ENDED"
    SETTLEMENT_BREAKS_EXCLUSION = "SETTLEMENT_BREAKS_EXCLUSION"
    SETTLEMENT_EXCEEDS_MEASURED = "SETTLEMENT_EXCEEDS_MEASURED"
    POLICY_REFUSED = "POLICY_REFUSED"
    ISSUANCE_LOCK_HELD = "ISSUANCE_LOCK_HELD"
    ACTIVITY_ALREADY_ISSUED = "ACTIVITY_ALREADY_ISSUED"
    PERIOD_OVERLAPS_OWN_LOCK = "PERIOD_OVERLAPS_OWN_LOCK"
    CONTRADICTS_BATCH_ITEM = "CONTRADICTS_BATCH_ITEM"
    LOCK_EXPIRED = "LOCK_EXPIRED"
    LOCK_STATE_WRONG = "LOCK_STATE_WRONG"
    FENCING_TOKEN_STALE = "FENCING_TOKEN_STALE"  # noqa: S105  a reason, not a secret
    OUTCOME_EXHAUSTED = "OUTCOME_EXHAUSTED"
    CARRY_NOT_COVERED = "CARRY_NOT_COVERED"
    OUTCOME_BELOW_ISSUED = "OUTCOME_BELOW_ISSUED"
    OUTCOME_OF_OTHER_REGISTRY = "OUTCOME_OF_OTHER_REGISTRY"
    OUTCOME_NOT_MEASURED = "OUTCOME_NOT_MEASURED"
    OUTCOME_PERIOD_DIFFERS = "OUTCOME_PERIOD_DIFFERS"
    UNITS_DIFFER = "UNITS_DIFFER"
    SERIALS_ALREADY_ISSUED = "SERIALS_ALREADY_ISSUED"
    COMMIT_DIFFERS = "COMMIT_DIFFERS"
    NATIVE_REGISTRY_REFUSED = "NATIVE_REGISTRY_REFUSED"
    NATIVE_REGISTRY_UNAVAILABLE = "NATIVE_REGISTRY_UNAVAILABLE"
    ISSUANCE_PROVEN_ABSENT = "ISSUANCE_PROVEN_ABSENT"
    ADAPTER_STANDING_BY = "ADAPTER_STANDING_BY"
    LOOKUP_UNAVAILABLE = "LOOKUP_UNAVAILABLE"
    STORE_BUSY = "STORE_BUSY"
    DEADLINE_TOO_SHORT = "DEADLINE_TOO_SHORT"
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """How one reason is told. Messages and remedies are format strings over the error's variables."""

    status: str
    """Name of the gRPC status code."""
    message_en: str
    message_zh: str
    remedy_en: str
    remedy_zh: str
    retryable: bool = False
    """Whether the same request may succeed later, unchanged except for a new request id."""
    tells_nothing: bool = False
    """Whether it leaves open if the request took effect: the far side does not know either (a failed COMMIT), or it
    speaks of this attempt only, while one before it, repeated by the transport, may have taken effect."""


REASONS: Final[dict[Reason, ReasonRow]] = {
    Reason.INVALID_REQUEST: ReasonRow(
        "INVALID_ARGUMENT",
        "the request has {count} fault(s): {faults}",
        "请求有 {count} 处错误：{faults}",
        "mend every field named and send again",
        "请逐项改正所列字段后重发",
    ),
    Reason.REQUEST_ID_REUSED: ReasonRow(
        "FAILED_PRECONDITION",
        "request_id {request_id} was used before with another content",
        "request_id {request_id} 曾用于内容不同的请求",
        "use a new request_id for a new request; repeat an old one unchanged",
        "新请求请用新的 request_id；重发旧请求时内容须一致",
    ),
    Reason.UNAUTHENTICATED: ReasonRow(
        "UNAUTHENTICATED",
        "the connection carries no identity: {detail}",
        "连接没有身份：{detail}",
        "connect with a certificate whose URI SAN is spiffe://<domain>/<role>/<code>",
        "请使用 URI SAN 为 spiffe://<域>/<角色>/<代码> 的证书连接",
    ),
    Reason.ROLE_NOT_ALLOWED: ReasonRow(
        "PERMISSION_DENIED",
        "role {role} may not call {method}",
        "角色 {role} 不得调用 {method}",
        "call with a certificate of one of these roles: {allowed}",
        "请使用以下角色的证书：{allowed}",
    ),
    Reason.REGISTRY_NOT_YOURS: ReasonRow(
        "PERMISSION_DENIED",
        "the certificate speaks for {caller}, not for registry {registry}",
        "证书代表 {caller}，而非登记簿 {registry}",
        "a registry acts only for itself: send its own code, or use that registry's certificate",
        "登记簿只能代表自己：请填写本登记簿代码，或使用该登记簿的证书",
    ),
    Reason.LOCK_NOT_YOURS: ReasonRow(
        "PERMISSION_DENIED",
        "{lock} is not a lock of the caller",
        "{lock} 不是调用方的签发锁",
        "check the lock's name in your own journal",
        "请在本方日志中核对签发锁名称",
    ),
    Reason.ACTIVITY_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "no activity is known for {what}",
        "没有与 {what} 对应的减排活动",
        "register the project first (RegisterActivity), or correct the identifier",
        "请先登记项目（RegisterActivity），或更正标识",
    ),
    Reason.ACTIVITY_NOT_REGISTERED: ReasonRow(
        "FAILED_PRECONDITION",
        "registry {registry} has registered no project on {activity}",
        "登记簿 {registry} 未在 {activity} 上登记项目",
        "register the project under its own id first (RegisterActivity)",
        "请先以本登记簿的项目编号登记（RegisterActivity）",
    ),
    Reason.LOCK_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "{lock} does not exist",
        "{lock} 不存在",
        "check the lock's name",
        "请核对签发锁名称",
    ),
    Reason.OUTCOME_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "no outcome is recorded for {activity} in {period} in {base_unit}",
        "{activity} 在 {period} 没有以 {base_unit} 记录的减排成果",
        "ask for exactly the recorded period and unit",
        "请使用与记录完全一致的期间与单位",
    ),
    Reason.REGISTRY_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "registry {registry} is not in the directory",
        "目录中没有登记簿 {registry}",
        "use a code from ListRegistries, or add the registry to the policy bundle",
        "请使用 ListRegistries 中的代码，或在政策包中加入该登记簿",
    ),
    Reason.ISSUANCE_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "{issuance} does not exist in this registry",
        "本登记簿没有 {issuance}",
        "check the issuance's name; ListIssuances shows all",
        "请核对签发名称；ListIssuances 可列出全部",
    ),
    Reason.NATIVE_PROJECT_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "registry {registry} has no project {native_project_id}",
        "登记簿 {registry} 没有项目 {native_project_id}",
        "check the project id in the native registry",
        "请在原登记簿核对项目编号",
    ),
    Reason.REGISTRY_ISSUES_NOTHING: ReasonRow(
        "FAILED_PRECONDITION",
        "registry {registry} issues nothing; it only reports",
        "登记簿 {registry} 不签发，只报送",
        "ask the registry that issues for this activity; GetRegistry tells the instruments of each",
        "请向为该活动签发的登记簿申请；GetRegistry 列出各登记簿的权益种类",
    ),
    Reason.IDENTITY_UNDER_REVIEW: ReasonRow(
        "FAILED_PRECONDITION",
        "its identity is under review: records contradict each other or may be of one activity; review case {case}",
        "身份审查中：有关记录相互矛盾，或可能属于同一减排活动；审查案 {case}",
        "wait until a person has decided the case; what is wrong in your own registration, correct and register again",
        "请等待人工裁定该案；本方登记如有错误，请更正后重新登记",
    ),
    Reason.REVIEW_CASE_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "{case} does not exist, or is not the caller's",
        "{case} 不存在，或不属于调用方",
        "check the case's number; ListReviewCases shows those that you may read",
        "请核对审查案编号；ListReviewCases 可列出可读的审查案",
    ),
    Reason.REVIEW_CASE_DECIDED: ReasonRow(
        "FAILED_PRECONDITION",
        "{case} is decided already",
        "{case} 已裁定",
        "read the case (GetReviewCase); new evidence, or an operator (ReopenReviewCase), opens it again",
        "请读取该案（GetReviewCase）；如有新证据，或由运营人员重启（ReopenReviewCase），该案将重新开启",
    ),
    Reason.REVIEW_ACTIVITY_NO_CANDIDATE: ReasonRow(
        "FAILED_PRECONDITION",
        "{activity} is no candidate of {case}",
        "{activity} 不是 {case} 的候选活动",
        "name one of its candidates (GetReviewCase), or decide DIFFERENT",
        "请填写该案的候选活动（GetReviewCase），或裁定为 DIFFERENT",
    ),
    Reason.REVIEW_PROJECT_STANDS: ReasonRow(
        "FAILED_PRECONDITION",
        "project {native_project_id} stands on {activity} already, so {decision} cannot be decided",
        "项目 {native_project_id} 已登记于 {activity}，不能裁定为 {decision}",
        "decide what leaves it there: SAME with that activity, or DIFFERENT from other candidates",
        "请作出使其保留原处的裁定：与该活动 SAME，或与其他候选 DIFFERENT",
    ),
    Reason.REVIEW_CASE_CHANGED: ReasonRow(
        "FAILED_PRECONDITION",
        "{case} has changed: its project may also be {activities}, which was no candidate; nothing was decided",
        "{case} 已有变化：其项目还可能属于此前并非候选的 {activities}；未作裁定",
        "look at the case again (GetReviewCase), where these are candidates now, and decide with a new request_id",
        "请重新查看该案（GetReviewCase），上述活动现已列为候选，并以新的 request_id 作出裁定",
    ),
    Reason.REVIEW_CASE_NEWER: ReasonRow(
        "FAILED_PRECONDITION",
        "{case} changed at {update_time}, after it was seen; nothing was decided",
        "{case} 在查看之后已于 {update_time} 变化；未作裁定",
        "look at the case again (GetReviewCase) and decide on what stands there now, with a new request_id",
        "请重新查看该案（GetReviewCase），并以新的 request_id 就现状作出裁定",
    ),
    Reason.ACTIVITY_PART_OF_ITSELF: ReasonRow(
        "FAILED_PRECONDITION",
        "{parent} is {activity} itself or a part of it",
        "{parent} 即 {activity} 本身，或为其组成部分",
        "decide DIFFERENT, or name an activity that is no part of it",
        "请裁定为 DIFFERENT，或填写不属于其组成部分的活动",
    ),
    Reason.REVIEW_NOTHING_PROPOSED: ReasonRow(
        "FAILED_PRECONDITION",
        "{case} has no proposal that waits for a second person",
        "{case} 没有待第二人确认的提议",
        "read the case (GetReviewCase), and decide it (DecideReviewCase) if it is open",
        "请读取该案（GetReviewCase）；如仍开启，请作出裁定（DecideReviewCase）",
    ),
    Reason.REVIEW_SECOND_PERSON_NEEDED: ReasonRow(
        "FAILED_PRECONDITION",
        "{decider} proposed the merge of {case}; a merge over issuances needs two persons",
        "{decider} 提议了 {case} 的合并；涉及已签发的合并须由两人完成",
        "have another operator confirm it, with a certificate of another code",
        "请由另一名运营人员以不同代码的证书确认",
    ),
    Reason.ACTIVITY_MERGED: ReasonRow(
        "FAILED_PRECONDITION",
        "{activity} was merged into {survivor}",
        "{activity} 已并入 {survivor}",
        "ask again with the id of the activity that survived",
        "请改用存续活动的标识重新申请",
    ),
    Reason.MERGE_BREAKS_EXCLUSION: ReasonRow(
        "FAILED_PRECONDITION",
        "{lock} and {other_lock} claim the same outcome, so {activity} and {other_activity} cannot become one",
        "{lock} 与 {other_lock} 主张同一成果，{activity} 与 {other_activity} 不能合并",
        "settle first which of the two issuances stands; nothing was changed",
        "请先确定两笔签发中何者有效；未作任何更改",
    ),
    Reason.MERGE_LOCKS_UNDER_WAY: ReasonRow(
        "FAILED_PRECONDITION",
        "{lock} and {other_lock} are under way on {activity} and {other_activity}",
        "{activity} 与 {other_activity} 上分别有进行中的 {lock} 与 {other_lock}",
        "wait until those of one side have ended, and decide again with a new request_id; nothing was changed",
        "请待其中一方的签发锁结束后，以新的 request_id 重新裁定；未作任何更改",
    ),
    Reason.MERGE_OUTCOMES_DIFFER: ReasonRow(
        "FAILED_PRECONDITION",
        "what is measured or locked in {period} and in {other_period} in {base_unit} does not fit together",
        "{period} 与 {other_period} 以 {base_unit} 计量或锁定的成果不一致",
        "have the registries agree on one figure for exactly one period first; nothing was changed",
        "请先由登记簿就同一期间的同一数值达成一致；未作任何更改",
    ),
    Reason.MERGE_EXCEEDS_MEASURED: ReasonRow(
        "FAILED_PRECONDITION",
        "together {used} {base_unit} would be issued or locked in {period}, of {available} {base_unit} there",
        "合并后 {period} 将签发或锁定 {used} {base_unit}，而该期间仅有 {available} {base_unit}",
        "settle first which issuances stand; nothing was changed",
        "请先确定何者签发有效；未作任何更改",
    ),
    Reason.REVIEW_CASE_OPEN: ReasonRow(
        "FAILED_PRECONDITION",
        "{case} is open",
        "{case} 尚未裁定",
        "decide it (DecideReviewCase); a decided case alone can be opened again",
        "请作出裁定（DecideReviewCase）；只有已裁定的案件才能重启",
    ),
    Reason.REVIEW_SAME_STANDS: ReasonRow(
        "FAILED_PRECONDITION",
        "{case} was decided SAME, and what that brought together stands on {activity}",
        "{case} 已裁定为 SAME，由此归并的内容仍登记于 {activity}",
        "split it first (SplitActivity; with restore for an activity that was merged), then reopen the case",
        "请先以拆分撤销（SplitActivity，对被合并的活动使用 restore），再重启该案",
    ),
    Reason.SPLIT_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "{split} does not exist",
        "{split} 不存在",
        "check the split's number (ListActivitySplits)",
        "请核对拆分编号（ListActivitySplits）",
    ),
    Reason.SPLIT_NOT_WAITING: ReasonRow(
        "FAILED_PRECONDITION",
        "{split} does not wait for a second person; it is {state}",
        "{split} 并非待第二人确认，其状态为 {state}",
        "read it (ListActivitySplits); where nothing has moved, ask for the split again",
        "请读取该拆分（ListActivitySplits）；如尚未拆分，请重新提出",
    ),
    Reason.SPLIT_SECOND_PERSON_NEEDED: ReasonRow(
        "FAILED_PRECONDITION",
        "{decider} proposed {split}; a split over issuances needs two persons",
        "{decider} 提议了 {split}；涉及已签发的拆分须由两人完成",
        "have another operator confirm it, with a certificate of another code",
        "请由另一名运营人员以不同代码的证书确认",
    ),
    Reason.SPLIT_CHANGED: ReasonRow(
        "FAILED_PRECONDITION",
        "what {split} would move has changed since it was proposed; {proposal} is proposed in its place",
        "自 {split} 提出以来，拟迁出的内容已有变化；现以 {proposal} 取代",
        "look at what the new proposal would move (ListActivitySplits), and confirm that one; nothing was moved",
        "请查看新提议拟迁出的内容（ListActivitySplits），再行确认；未作任何迁移",
    ),
    Reason.SPLIT_NOT_AN_ALIAS: ReasonRow(
        "FAILED_PRECONDITION",
        "{restore} is no alias of {activity}, so there is no merge of the two to undo",
        "{restore} 不是 {activity} 的别名，没有可撤销的合并",
        "name an activity that was merged into it, or leave restore empty to make a new one; nothing was changed",
        "请填写已并入该活动的标识，或将 restore 留空以新建活动；未作任何更改",
    ),
    Reason.SPLIT_NOT_THERE: ReasonRow(
        "FAILED_PRECONDITION",
        "{what} does not stand on {activity}",
        "{what} 不在 {activity} 上",
        "read the activity (GetActivity, ListIssuanceLocks) and name what stands there; nothing was changed",
        "请读取该活动（GetActivity、ListIssuanceLocks），填写其上的内容；未作任何更改",
    ),
    Reason.SPLIT_NOTHING_MOVES: ReasonRow(
        "FAILED_PRECONDITION",
        "none of the projects that {restore} had before the merge stands on {activity} any more",
        "{restore} 合并前的项目均已不在 {activity} 上",
        "name the projects that shall be on it; nothing was changed",
        "请填写应归于该活动的项目；未作任何更改",
    ),
    Reason.SPLIT_NOTHING_STAYS: ReasonRow(
        "FAILED_PRECONDITION",
        "no project would stay on {activity}",
        "{activity} 上将不再有任何项目",
        "leave it one project at least; nothing was changed",
        "请至少保留一个项目；未作任何更改",
    ),
    Reason.SPLIT_LOCK_UNDER_WAY: ReasonRow(
        "FAILED_PRECONDITION",
        "{lock} on {activity} is under way, and a project of its registry would move",
        "{activity} 上的 {lock} 正在进行中，且其登记簿有项目随迁",
        "wait until it has ended, and ask again with a new request_id; nothing was changed",
        "请待其结束后，以新的 request_id 重新提出；未作任何更改",
    ),
    Reason.SPLIT_LOCK_WITHOUT_PROJECT: ReasonRow(
        "FAILED_PRECONDITION",
        "{lock} would move, and registry {registry} has no project among those that move from {activity}",
        "{lock} 将随迁，而登记簿 {registry} 没有从 {activity} 迁出的项目",
        "name a project of that registry as well, or leave the lock where it is; nothing was changed",
        "请一并填写该登记簿的项目，或保留该签发锁；未作任何更改",
    ),
    Reason.SPLIT_EXCEEDS_MEASURED: ReasonRow(
        "FAILED_PRECONDITION",
        "apart, {used} {base_unit} would be issued or locked in {period} on one side, of {available} {base_unit} there",
        "拆分后一方在 {period} 将签发或锁定 {used} {base_unit}，而该期间仅有 {available} {base_unit}",
        "settle first which figure or issuance stands; nothing was changed",
        "请先确定何种数值或签发有效；未作任何更改",
    ),
    Reason.COVERAGE_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "{coverage} is not known",
        "未找到 {coverage}",
        "check the name; ListCoverage shows the statements that the caller may see",
        "请核对名称；ListCoverage 可列出调用方可见的纳管声明",
    ),
    Reason.COVERAGE_STATEMENT_DIFFERS: ReasonRow(
        "ALREADY_EXISTS",
        "statement {statement_id} of registry {registry} was recorded before with another content",
        "登记簿 {registry} 的声明 {statement_id} 先前已以不同内容记录",
        "correct it by a new statement with an id of its own that names this one in `corrects`",
        "请以新的声明更正：使用新的声明编号，并在 `corrects` 中填写本声明编号",
    ),
    Reason.SETTLEMENT_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "{settlement} is not known",
        "未找到 {settlement}",
        "check the name; ListSettlements shows the lines that the caller may see",
        "请核对名称；ListSettlements 可列出调用方可见的结算记录",
    ),
    Reason.SETTLEMENT_DIFFERS: ReasonRow(
        "ALREADY_EXISTS",
        "settlement {settlement_id} of registry {registry} was recorded before with another content",
        "登记簿 {registry} 的结算记录 {settlement_id} 先前已以不同内容记录",
        "correct it by a new line with an id of its own that names this one in `corrects`",
        "请以新的结算记录更正：使用新的编号，并在 `corrects` 中填写本记录编号",
    ),
    Reason.OUTCOME_DISPUTED: ReasonRow(
        "FAILED_PRECONDITION",
        "the outcome of {activity} for {period} is in dispute: {dispute}",
        "{activity} 在 {period} 的成果存在争议：{dispute}",
        "nothing new is issued there until an operator settles it; ask for periods outside, or later",
        "争议由运营方裁决前不得新签发；请申请其他期间，或稍后再试",
    ),
    Reason.ISSUANCE_DIFFERS: ReasonRow(
        "FAILED_PRECONDITION",
        "issuance {native_issuance_id} waits for a review of its project with other content",
        "签发 {native_issuance_id} 正等待其项目的身份审查，且内容不同",
        "send it again when the review case is decided; then both are told in a dispute",
        "请待审查案裁决后重发；届时差异将列入争议",
    ),
    Reason.ISSUANCE_UNDER_WAY: ReasonRow(
        "FAILED_PRECONDITION",
        "issuance {native_issuance_id} may be the one that {lock} has begun, of as many units",
        "签发 {native_issuance_id} 可能就是 {lock} 已开始的同数量签发",
        "send it again when that one is settled: it is known then, or an issuance of its own",
        "请待该签发了结后重发：届时要么已登记，要么为另一笔签发",
    ),
    Reason.DISPUTE_UNKNOWN: ReasonRow(
        "NOT_FOUND",
        "there is no {dispute}, or your registry is no side of it",
        "{dispute} 不存在，或贵登记簿并非其当事方",
        "list the disputes to see their names",
        "请先列出争议以查看其名称",
    ),
    Reason.DISPUTE_STATE_WRONG: ReasonRow(
        "FAILED_PRECONDITION",
        "{dispute} is {state}; {action} needs {needed}",
        "{dispute} 状态为 {state}；{action} 需要 {needed}",
        "read it first; somebody else may have decided meanwhile",
        "请先查看；他人可能已作出决定",
    ),
    Reason.DISPUTE_OUTCOME_NOT_POSSIBLE: ReasonRow(
        "FAILED_PRECONDITION",
        "{dispute} is of kind {kind} and cannot be settled as {outcome}",
        "{dispute} 类别为 {kind}，不能以 {outcome} 裁决",
        "settle it as one of: {possible}",
        "可选裁决：{possible}",
    ),
    Reason.DISPUTE_LOCK_UNDER_WAY: ReasonRow(
        "FAILED_PRECONDITION",
        "{lock}, a side of {dispute}, is being issued",
        "{dispute} 的一方 {lock} 正在签发",
        "settle it when that issuance has been committed or aborted",
        "请待该签发提交或中止后再裁决",
    ),
    Reason.DISPUTE_SIDE_ENDED: ReasonRow(
        "FAILED_PRECONDITION",
        "{lock}, a side of {dispute}, has ended as {state}; nothing was issued under it that could stand",
        "{dispute} 的一方 {lock} 已结束，状态为 {state}；其下没有可成立的签发",
        "settle it as LATE or NEITHER",
        "请以 LATE 或 NEITHER 裁决",
    ),
    Reason.SETTLEMENT_BREAKS_EXCLUSION: ReasonRow(
        "FAILED_PRECONDITION",
        "settled so, {lock} and {other_lock} would claim one outcome: {period}",
        "如此裁决将使 {lock} 与 {other_lock} 主张同一成果：{period}",
        "settle the dispute with that lock first, or choose another outcome",
        "请先裁决与该签发锁的争议，或选择其他裁决",
    ),
    Reason.SETTLEMENT_EXCEEDS_MEASURED: ReasonRow(
        "FAILED_PRECONDITION",
        "settled so, {used} {base_unit} would be issued for {period}, of which {available} were measured",
        "如此裁决将使 {period} 签发 {used} {base_unit}，而计量仅 {available}",
        "record the right measure first, or choose another outcome",
        "请先登记正确的计量，或选择其他裁决",
    ),
    Reason.POLICY_REFUSED: ReasonRow(
        "FAILED_PRECONDITION",
        "policy refuses: {rules}",
        "政策不允许：{rules}",
        "meet every rule named; the policy bundle in force is {bundle}",
        "请满足所列全部规则；现行政策包为 {bundle}",
    ),
    Reason.ISSUANCE_LOCK_HELD: ReasonRow(
        "ABORTED",
        "registry {registry} holds an issuance lock for {instrument} over {period} in state {state}",
        "登记簿 {registry} 就 {instrument} 持有 {period} 的签发锁，状态 {state}",
        "try again after that lock has ended, with a new request_id",
        "请待该锁结束后以新的 request_id 重试",
        retryable=True,
    ),
    Reason.ACTIVITY_ALREADY_ISSUED: ReasonRow(
        "ALREADY_EXISTS",
        "registry {registry} has issued {instrument} over {period} (state {state})",
        "登记簿 {registry} 已就 {period} 签发 {instrument}（状态 {state}）",
        "this outcome is taken; ask only for periods that are free",
        "该成果已被签发；请仅申请尚未签发的期间",
    ),
    Reason.PERIOD_OVERLAPS_OWN_LOCK: ReasonRow(
        "FAILED_PRECONDITION",
        "the period overlaps the registry's own lock for {instrument} over {period} (state {state}) only in part",
        "期间与本登记簿就 {instrument} 持有的 {period} 签发锁（状态 {state}）部分重叠",
        "a supplement takes exactly the period of the first issuance; other issuances take free periods",
        "补充签发须与首次签发期间完全一致；其他签发须使用未占用期间",
    ),
    Reason.CONTRADICTS_BATCH_ITEM: ReasonRow(
        "FAILED_PRECONDITION",
        "contradicts item {item} of the same batch",
        "与同批第 {item} 项矛盾",
        "send only one of the two, or send this one in a batch of its own",
        "请只提交其中一项，或将本项单独成批",
    ),
    Reason.LOCK_EXPIRED: ReasonRow(
        "FAILED_PRECONDITION",
        "{lock} expired at {expire_time} before it was begun",
        "{lock} 未开始签发即于 {expire_time} 过期",
        "acquire the lock again, with a new request_id",
        "请以新的 request_id 重新取得签发锁",
    ),
    Reason.LOCK_STATE_WRONG: ReasonRow(
        "FAILED_PRECONDITION",
        "{lock} is in state {state}; {action} needs {needed}",
        "{lock} 的状态为 {state}；{action} 需要 {needed}",
        "read the lock (GetIssuanceLock) and go on from its state",
        "请读取签发锁（GetIssuanceLock）并依其状态继续",
    ),
    Reason.FENCING_TOKEN_STALE: ReasonRow(
        "FAILED_PRECONDITION",
        "token {fencing_token} of {lock} is not the token of the grant in force",
        "{lock} 的令牌 {fencing_token} 不是现行令牌",
        "somebody went on with this lock; stop, read the lock, and do not issue natively",
        "该锁已由他方继续；请停止、重新读取签发锁，切勿在原登记簿签发",
    ),
    Reason.OUTCOME_EXHAUSTED: ReasonRow(
        "FAILED_PRECONDITION",
        "{requested} {base_unit} asked for, {available} {base_unit} available in {period}",
        "申请 {requested} {base_unit}，{period} 可用 {available} {base_unit}",
        "ask for no more than was measured, less what is issued or locked",
        "申请量不得超过计量成果减去已签发和已锁定的部分",
    ),
    Reason.CARRY_NOT_COVERED: ReasonRow(
        "FAILED_PRECONDITION",
        "{carried_in} {base_unit} carried in, {available} {base_unit} remained in the adjoining period before",
        "结转 {carried_in} {base_unit}，而前一相邻期间仅余 {available} {base_unit}",
        "issue the period before first, and carry in only what remained there under one unit",
        "请先签发前一期间，且仅结转其不足一单位的余量",
    ),
    Reason.OUTCOME_BELOW_ISSUED: ReasonRow(
        "FAILED_PRECONDITION",
        "{quantity} {base_unit} is less than the {issued} {base_unit} already locked or issued in {period}",
        "{quantity} {base_unit} 少于 {period} 已锁定或签发的 {issued} {base_unit}",
        "a figure cannot fall below what is issued; settle the issuance first",
        "成果数值不得低于已签发量；请先处理已签发部分",
    ),
    Reason.OUTCOME_OF_OTHER_REGISTRY: ReasonRow(
        "FAILED_PRECONDITION",
        "the outcome of {period} in {base_unit} was recorded by another registry",
        "{period} 以 {base_unit} 计的成果由另一登记簿记录",
        "only the registry whose word it is may change it; both must agree outside the system",
        "只有原记录的登记簿可以更改；请双方另行协商一致",
    ),
    Reason.OUTCOME_NOT_MEASURED: ReasonRow(
        "FAILED_PRECONDITION",
        "registry {registry} has nothing measured to issue for project {native_project_id} in {period}",
        "登记簿 {registry} 没有项目 {native_project_id} 在 {period} 可签发的计量成果",
        "record readings or a certified reduction of exactly this period in the native registry first",
        "请先在原登记簿录入该期间的计量读数或核证减排量",
    ),
    Reason.OUTCOME_PERIOD_DIFFERS: ReasonRow(
        "FAILED_PRECONDITION",
        "{period} and {other_period} overlap without being the same period, in {base_unit}",
        "{period} 与 {other_period}（{base_unit}）重叠但并非同一期间",
        "measure and issue for exactly the same periods",
        "计量与签发须使用完全相同的期间",
    ),
    Reason.UNITS_DIFFER: ReasonRow(
        "FAILED_PRECONDITION",
        "the serials count {counted} units, the grant is for {units}",
        "序列号共 {counted} 个单位，而授予为 {units} 个",
        "commit exactly the units of the grant",
        "请按授予的单位数量提交",
    ),
    Reason.SERIALS_ALREADY_ISSUED: ReasonRow(
        "ALREADY_EXISTS",
        "serials of series {series} or native issuance {native_issuance_id} stand in the ledger already",
        "序列 {series} 的序列号或原登记簿签发 {native_issuance_id} 已在台账中",
        "the lock stays ISSUING; compare the native registry with the ledger before anything else",
        "签发锁保持签发中；请先核对原登记簿与台账",
    ),
    Reason.COMMIT_DIFFERS: ReasonRow(
        "ALREADY_EXISTS",
        "{lock} was committed before with another native issuance or other serials",
        "{lock} 先前已提交不同的签发或序列号",
        "compare the native registry with the lock; two native issuances may exist",
        "请核对原登记簿与签发锁；可能存在两笔原始签发",
    ),
    Reason.NATIVE_REGISTRY_REFUSED: ReasonRow(
        "FAILED_PRECONDITION",
        "the native registry refused: {code} {detail}",
        "原登记簿拒绝：{code} {detail}",
        "mend what the native registry names; nothing was issued",
        "请按原登记簿提示处理；未签发任何单位",
    ),
    Reason.NATIVE_REGISTRY_UNAVAILABLE: ReasonRow(
        "UNAVAILABLE",
        "the native registry of {registry} does not answer",
        "登记簿 {registry} 的原系统无应答",
        "try again later, with a new request_id; nothing was issued by this request",
        "请稍后以新的 request_id 重试；本请求未签发任何单位",
        retryable=True,
    ),
    Reason.ISSUANCE_PROVEN_ABSENT: ReasonRow(
        "ABORTED",
        "the issuance was interrupted and it is proven that nothing was issued: {evidence}",
        "签发中断，已证明未签发任何单位：{evidence}",
        "request it again, with a new request_id",
        "请以新的 request_id 重新申请",
        retryable=True,
    ),
    Reason.ADAPTER_STANDING_BY: ReasonRow(
        "UNAVAILABLE",
        "another process of registry {registry} has the journal",
        "登记簿 {registry} 的另一进程正在使用日志",
        "call the active process; this one takes over when the lease ends",
        "请调用当前工作的进程；租约结束后本进程接替",
        retryable=True,
        tells_nothing=True,
    ),
    Reason.LOOKUP_UNAVAILABLE: ReasonRow(
        "UNAVAILABLE",
        "the lookup does not answer",
        "查询中心无应答",
        "try again with the same request_id",
        "请以相同的 request_id 重试",
        retryable=True,
        tells_nothing=True,
    ),
    Reason.STORE_BUSY: ReasonRow(
        "UNAVAILABLE",
        "the store is busy or out of reach",
        "存储繁忙或不可达",
        "try again with the same request_id",
        "请以相同的 request_id 重试",
        retryable=True,
        tells_nothing=True,
    ),
    Reason.DEADLINE_TOO_SHORT: ReasonRow(
        "DEADLINE_EXCEEDED",
        "{remaining_ms} ms remain, {needed_ms} ms are needed to answer safely",
        "剩余 {remaining_ms} 毫秒，安全应答需要 {needed_ms} 毫秒",
        "call again with a longer deadline and the same request_id",
        "请以相同的 request_id 和更长的时限重试",
        retryable=True,
        tells_nothing=True,
    ),
    Reason.TOO_MANY_CALLS: ReasonRow(
        "RESOURCE_EXHAUSTED",
        "more than {limit} calls are under way",
        "同时进行的调用超过 {limit} 个",
        "wait and try again with the same request_id",
        "请稍候以相同的 request_id 重试",
        retryable=True,
        tells_nothing=True,
    ),
    Reason.INTERNAL: ReasonRow(
        "INTERNAL",
        "an internal error occurred; trace {trace_id}",
        "内部错误；跟踪号 {trace_id}",
        "tell the operator the trace id; repeat with the same request_id",
        "请将跟踪号告知运营方；可以相同的 request_id 重试",
        tells_nothing=True,
    ),
}


class DomainError(Exception):
    """A refusal. ``variables`` fill the message of its reason; every one reaches the client as metadata."""

    def __init__(self, reason: Reason, *, retry_after: timedelta | None = None, **variables: object) -> None:
        self.reason = reason
        self.variables = {name: str(value) for name, value in variables.items()}
        self.retry_after = retry_after
        row = REASONS[reason]
        self.message_en = f"{row.message_en.format(**self.variables)}; {row.remedy_en.format(**self.variables)}"
        self.message_zh = f"{row.message_zh.format(**self.variables)}；{row.remedy_zh.format(**self.variables)}"
        super().__init__(f"{reason.value}: {self.message_en}")


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One fault of a request: the field's path and a sentence with the remedy."""

    field: str
    description: str


class InvalidRequest(DomainError):
    """All faults of a request at once."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        self.violations = tuple(violations)
        faults = "; ".join(f"{each.field}: {each.description}" for each in self.violations[:20])
        super().__init__(Reason.INVALID_REQUEST, count=len(self.violations), faults=faults)
