"""How every mutation runs: parse, work once per request id, answer per item. A single call is a batch of one."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from soleclaim.core.errors import DomainError
from soleclaim.core.identity import Caller
from soleclaim.lookup.ports import LookupStore, RequestKey, Transaction
from soleclaim.rpc.caller import Context, caller_of
from soleclaim.rpc.parse import Faults
from soleclaim.rpc.status import from_status, to_status

MAX_BATCH: Final = 1000
"""Items of a batch."""

Item = TypeVar("Item")
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Mutation(Generic[Item, Done]):
    """One kind of mutation. Messages are ``Any``: the generated types of its request, result and batch response."""

    method: str
    """The single form's name; both forms share the request ids of it."""
    parse: Callable[[Any, Caller, Faults], Item | None]
    """The item of a request; what it returns counts only when no fault was noted. May raise ``DomainError``."""
    work: Callable[[Transaction, list[Item]], Awaitable[Sequence[Done | DomainError]]]
    fill: Callable[[Any, Done], None]
    """Write what was done into its result message, in place: a thousand messages built apart cost twice as much."""
    response: Callable[[], Any]
    """The batch response's type; has ``results``."""


async def run_single(store: LookupStore, mutation: Mutation[Item, Done], request: Any, context: Context) -> Any:
    """The result message of the one item. Raises its ``DomainError``, the first time and on every repeat."""
    caller = caller_of(context)
    faults = Faults()
    faults.request_id("request_id", request.request_id)
    item = mutation.parse(request, caller, faults)
    faults.raise_if_any()
    if item is None:
        raise AssertionError("a parser gave neither an item nor a fault")
    (result,) = (await _once(store, mutation, caller, request, [item])).results
    if result.HasField("error"):
        raise _as_error(result.error)
    return result


async def run_batch(store: LookupStore, mutation: Mutation[Item, Done], request: Any, context: Context) -> Any:
    """The batch response: an answer per item; faulty items do not harm the others."""
    caller = caller_of(context)
    faults = Faults()
    faults.request_id("request_id", request.request_id)
    if not 1 <= len(request.requests) <= MAX_BATCH:
        faults.add("requests", f"must hold 1 to {MAX_BATCH} items, not {len(request.requests)}; split the batch")
    faults.raise_if_any()
    items: list[Item | DomainError] = []
    for i, each in enumerate(request.requests):
        item = _parse_item(mutation, i, each, caller)
        items.append(item)
    return await _once(store, mutation, caller, request, items)


def _parse_item(mutation: Mutation[Item, Done], i: int, request: Any, caller: Caller) -> Item | DomainError:
    faults = Faults(f"requests[{i}].")
    if request.request_id:
        faults.add("request_id", "must stay empty inside a batch; the batch's own request_id counts")
    try:
        item = mutation.parse(request, caller, faults)
        faults.raise_if_any()
    except DomainError as error:
        return error
    if item is None:
        raise AssertionError("a parser gave neither an item nor a fault")
    return item


async def _once(
    store: LookupStore,
    mutation: Mutation[Item, Done],
    caller: Caller,
    request: Any,
    items: Sequence[Item | DomainError],
) -> Any:
    """Run, or give the first answer, of this request id."""
    fresh: list[Any] = []

    async def work(transaction: Transaction) -> bytes:
        good = [each for each in items if not isinstance(each, DomainError)]
        done = iter(await mutation.work(transaction, good) if good else ())
        response = mutation.response()
        for each in items:
            result, outcome = response.results.add(), each if isinstance(each, DomainError) else next(done)
            if isinstance(outcome, DomainError):
                result.error.CopyFrom(to_status(outcome))
            else:
                mutation.fill(result, outcome)
        fresh[:] = [response]
        answer: bytes = response.SerializeToString()
        return answer

    payload_hash = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    answer = await store.once(RequestKey(str(caller), request.request_id, mutation.method, payload_hash), work)
    if fresh:
        return fresh[0]
    stored = mutation.response()
    stored.ParseFromString(answer)
    return stored


def _as_error(status: Any) -> DomainError:
    """The refusal that was stored as an answer."""
    refusal = from_status(status)
    if refusal.reason is None:
        raise AssertionError("a stored answer names no known reason")
    return DomainError(refusal.reason, retry_after=refusal.retry_after, **refusal.variables)
