"""How the lookup's answers are read: what is an answer about an item, and what tells nothing."""

import string
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import pytest

from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.client import RemoteRefusal, RemoteUnavailable
from soleclaim.client.calls import translate
from soleclaim.core.errors import REASONS, DomainError, Reason
from soleclaim.core.serials import UnitBlock
from soleclaim.registry.domain import Evidence, EvidenceKind, Refusal
from soleclaim.registry.grpc.lookup_gateway import LookupGateway
from soleclaim.registry.instruments import INSTRUMENTS
from soleclaim.registry.lookup import Absent, Grant, LockNow, LockState, LookupUnavailable, Made
from soleclaim.rpc.status import STATUS_KEY, code_of, to_status

GRANTS: Final = [Grant("issuanceLocks/1", 101), Grant("issuanceLocks/2", 102)]
LAST_CALLS: Final[dict[str, Callable[[LookupGateway], Awaitable[list[Refusal | None]]]]] = {
    "begin": lambda lookup: lookup.begin("request-1", GRANTS),
    "commit": lambda lookup: lookup.commit("request-1", [Made(g, "N1", (UnitBlock("S", 1, 1),)) for g in GRANTS]),
    "abort": lambda lookup: lookup.abort(
        "request-1", [Absent(g, Evidence(EvidenceKind.NEVER_SENT, "never sent")) for g in GRANTS]
    ),
}
TELLING_NOTHING: Final = {
    Reason.ADAPTER_STANDING_BY, Reason.LOOKUP_UNAVAILABLE, Reason.STORE_BUSY, Reason.DEADLINE_TOO_SHORT,
    Reason.TOO_MANY_CALLS, Reason.INTERNAL,
}  # fmt: skip


def refused(reason: Reason) -> DomainError:
    row = REASONS[reason]
    values: dict[str, Any] = {
        name: "x"
        for text in (row.message_en, row.remedy_en)
        for _, name, _, _ in string.Formatter().parse(text)
        if name
    }
    return DomainError(reason, **values)


class FakeClient:
    """A ``LookupClient`` whose every call is answered by ``answer``. Methods are their own names."""

    def __init__(self, answer: Callable[[str, Any], Any]) -> None:
        self._answer = answer
        self.calls: list[str] = []
        self.locks = self

    def __getattr__(self, name: str) -> str:
        return name

    async def call(self, method: str, request: Any, *, timeout_s: float) -> Any:
        assert timeout_s > 0
        self.calls.append(method)
        return self._answer(method, request)


def gateway(answer: Callable[[str, Any], Any]) -> tuple[LookupGateway, FakeClient]:
    client = FakeClient(answer)
    return LookupGateway(client, "gec", INSTRUMENTS["gec"], timeout_s=5), client  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LAST_CALLS)
@pytest.mark.parametrize(
    "reason", [Reason.ROLE_NOT_ALLOWED, Reason.UNAUTHENTICATED, Reason.REQUEST_ID_REUSED, Reason.INVALID_REQUEST]
)
async def test_a_refusal_of_the_whole_call_is_no_answer_about_an_item(
    caplog: pytest.LogCaptureFixture, name: str, reason: Reason
) -> None:
    def answer(_method: str, _request: object) -> object:
        raise RemoteRefusal("FAILED_PRECONDITION", reason=reason)

    with pytest.raises(LookupUnavailable):
        await LAST_CALLS[name](gateway(answer)[0])
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("name", LAST_CALLS)
@pytest.mark.parametrize("reason", Reason)
async def test_what_an_item_is_refused_with_is_its_answer_or_tells_nothing(name: str, reason: Reason) -> None:
    error = lock_pb.IssuanceLockResult(error=to_status(refused(reason)))
    done = lock_pb.IssuanceLockResult(lock=lock_pb.IssuanceLock())
    lookup, _ = gateway(lambda *_: lock_pb.BatchIssuanceLocksResponse(results=[error, done]))
    if reason in TELLING_NOTHING:
        with pytest.raises(LookupUnavailable):
            await LAST_CALLS[name](lookup)
    else:
        first, second = await LAST_CALLS[name](lookup)
        assert first is not None
        assert (first.reason, second) == (reason, None)


@pytest.mark.parametrize("reason", Reason)
def test_one_table_says_what_tells_nothing(reason: Reason) -> None:
    assert REASONS[reason].tells_nothing is (reason in TELLING_NOTHING)
    error = refused(reason)
    trailers = grpc.aio.Metadata((STATUS_KEY, to_status(error).SerializeToString()))
    call = grpc.aio.AioRpcError(code_of(error), grpc.aio.Metadata(), trailers)
    assert isinstance(translate(call), RemoteUnavailable if reason in TELLING_NOTHING else RemoteRefusal)


def a_lock(number: int, state: LockState = LockState.ISSUING) -> lock_pb.IssuanceLock:
    return lock_pb.IssuanceLock(
        name=f"issuanceLocks/{number}",
        state=lock_pb.IssuanceLockState.Value(f"ISSUANCE_LOCK_STATE_{state.value}"),
        fencing_token=100 + number,
    )


async def test_many_locks_are_read_by_their_names_in_few_calls() -> None:
    """Also where an answer holds only the first of those asked for."""

    def answer(method: str, request: Any) -> object:
        assert (method, len(request.names) <= 1000) == ("BatchGetIssuanceLocks", True)
        numbers = [int(name.removeprefix("issuanceLocks/")) for name in request.names]
        ended = {7: LockState.ABORTED}
        return lock_pb.BatchGetIssuanceLocksResponse(
            issuance_locks=[a_lock(number, ended.get(number, LockState.ISSUING)) for number in numbers[:600]]
        )

    lookup, client = gateway(answer)
    found = await lookup.locks([f"issuanceLocks/{number}" for number in range(1100, 0, -1)])
    assert len(found) == 1100
    assert found[-7] == LockNow(LockState.ABORTED, 107)
    assert sum(lock.is_issuing(1200 - index) for index, lock in enumerate(found)) == 1099
    assert len(client.calls) == 2
    assert await lookup.locks([]) == []


@pytest.mark.parametrize("told", [[], [a_lock(2)]], ids=["nothing", "another"])
async def test_an_answer_about_other_locks_tells_nothing(told: list[lock_pb.IssuanceLock]) -> None:
    lookup, _ = gateway(lambda *_: lock_pb.BatchGetIssuanceLocksResponse(issuance_locks=told))
    with pytest.raises(LookupUnavailable):
        await lookup.locks(["issuanceLocks/1"])


async def test_locks_that_cannot_be_read_are_not_known() -> None:
    def answer(_method: str, _request: object) -> object:
        raise RemoteRefusal("PERMISSION_DENIED", reason=Reason.LOCK_NOT_YOURS)

    with pytest.raises(LookupUnavailable):
        await gateway(answer)[0].locks(["issuanceLocks/1"])
