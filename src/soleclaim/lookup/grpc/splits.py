"""ReviewService: splits of activities."""

from collections.abc import Sequence
from typing import Final

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import review_service_pb2 as pb2
from soleclaim.core.activity_id import activity_key
from soleclaim.core.errors import DomainError
from soleclaim.core.identity import Caller
from soleclaim.lookup.domain import ActivitySplit, LockId, SplitWish
from soleclaim.lookup.grpc.convert import LOCK_PREFIX, activity_name, parse_identifiers, parse_lock_name
from soleclaim.lookup.grpc.mutation import Mutation, run_single
from soleclaim.lookup.grpc.words import MAX_TEXT, Word, parse_word
from soleclaim.lookup.ports import LookupStore, Transaction
from soleclaim.lookup.service import splitting
from soleclaim.policy.bundle import Bundle
from soleclaim.rpc.caller import Context, caller_of
from soleclaim.rpc.pages import page_asked
from soleclaim.rpc.parse import Faults, to_timestamp

PREFIX: Final = "activitySplits/"
MAX_NAMED: Final = 100
"""Projects of a split, and identifiers."""
MAX_LOCKS: Final = 1000
"""Locks that a split names."""


class SplitMethods:
    """The methods of ReviewService that split."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        self._splits = store

        async def split(transaction: Transaction, wishes: list[SplitWish]) -> Sequence[ActivitySplit | DomainError]:
            return [await splitting.split(transaction, bundle, each) for each in wishes]

        async def confirm(transaction: Transaction, words: list[Word]) -> Sequence[ActivitySplit | DomainError]:
            return [
                await splitting.confirm_split(transaction, bundle, number, reason=reason, decider=speaker)
                for number, reason, speaker in words
            ]

        self._split: Mutation[SplitWish, ActivitySplit] = Mutation(
            "SplitActivity", parse_wish, split, _fill, pb2.ActivitySplitResults
        )
        self._confirm_split: Mutation[Word, ActivitySplit] = Mutation(
            "ConfirmActivitySplit", parse_word(PREFIX), confirm, _fill, pb2.ActivitySplitResults
        )

    async def SplitActivity(self, request: pb2.SplitActivityRequest, context: Context) -> pb2.ActivitySplit:
        """See the proto."""
        result: pb2.ActivitySplitResult = await run_single(self._splits, self._split, request, context)
        return result.activity_split

    async def ConfirmActivitySplit(
        self, request: pb2.ConfirmActivitySplitRequest, context: Context
    ) -> pb2.ActivitySplit:
        """See the proto."""
        result: pb2.ActivitySplitResult = await run_single(self._splits, self._confirm_split, request, context)
        return result.activity_split

    async def ListActivitySplits(
        self, request: pb2.ListActivitySplitsRequest, context: Context
    ) -> pb2.ListActivitySplitsResponse:
        """See the proto."""
        caller_of(context)
        faults = Faults()
        asked = page_asked(request, faults)
        activity_id = faults.activity("activity", request.activity) if request.activity else None
        faults.raise_if_any()
        key = None if activity_id is None else activity_key(activity_id)
        async with self._splits.reading() as reader:
            splits = await reader.list_activity_splits(key=key, after=asked.after, limit=asked.limit)
        page, next_page_token = asked.cut([to_split(each) for each in splits], splits, lambda each: each.split_id)
        return pb2.ListActivitySplitsResponse(activity_splits=page, next_page_token=next_page_token)


def _fill(result: pb2.ActivitySplitResult, split: ActivitySplit) -> None:
    result.activity_split.CopyFrom(to_split(split))


def parse_wish(message: pb2.SplitActivityRequest, caller: Caller, faults: Faults) -> SplitWish | None:
    """What the caller wants split; ``None`` when it has faults."""
    activity_id = faults.activity("activity", message.activity)
    restore = faults.activity("restore", message.restore) if message.restore else None
    if not message.native_projects and not message.restore:
        faults.add("native_projects", "must name a project to take off, unless restore says which merge to undo")
    projects = _parse_projects(message.native_projects, faults)
    identifiers = parse_identifiers(message.identifiers, faults, at_most=MAX_NAMED)
    locks = _parse_locks(message.issuance_locks, faults)
    reason = faults.text("reason", message.reason, max_length=MAX_TEXT)
    if activity_id is None:
        return None
    return SplitWish(activity_id, projects, identifiers, locks, restore, reason, str(caller))


def _parse_projects(messages: Sequence[activity_pb2.NativeProjectRef], faults: Faults) -> tuple[tuple[str, str], ...]:
    if len(messages) > MAX_NAMED:
        faults.add("native_projects", f"holds {len(messages)} projects; at most {MAX_NAMED} are allowed")
    for i, each in enumerate(messages[:MAX_NAMED]):
        under = faults.prefixed(f"native_projects[{i}].")
        under.code("registry", each.registry)
        under.text("native_project_id", each.native_project_id, max_length=128)
    return tuple((each.registry, each.native_project_id) for each in messages)


def _parse_locks(names: Sequence[str], faults: Faults) -> tuple[LockId, ...]:
    if len(names) > MAX_LOCKS:
        faults.add("issuance_locks", f"holds {len(names)} locks; at most {MAX_LOCKS} are allowed")
    return tuple(parse_lock_name(f"issuance_locks[{i}]", each, faults) for i, each in enumerate(names[:MAX_LOCKS]))


def to_split(split: ActivitySplit) -> pb2.ActivitySplit:
    """On the wire."""
    return pb2.ActivitySplit(
        name=f"{PREFIX}{split.split_id}",
        state=split.state.value,  # type: ignore[arg-type]  # the domain's numbers are the API's
        activity=f"activities/{split.wish.activity_id}",
        new_activity=activity_name(split.into),
        restore=activity_name(split.wish.restore),
        native_projects=[
            activity_pb2.NativeProjectRef(registry=registry, native_project_id=project)
            for registry, project in split.moved.projects
        ],
        identifiers=[types_pb2.Identifier(scheme=scheme, value=value) for scheme, value in split.moved.identifiers],
        issuance_locks=[f"{LOCK_PREFIX}{each}" for each in split.moved.locks],
        reason=split.wish.reason,
        proposer=split.wish.proposer,
        confirm_reason=split.confirm_reason,
        confirmer=split.confirmer,
        create_time=to_timestamp(split.create_time),
        update_time=to_timestamp(split.update_time),
    )
