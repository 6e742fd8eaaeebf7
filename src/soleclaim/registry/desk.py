"""Where issuances are asked for: idempotency, and tasks that outlive the caller.

A client may go away, or its deadline pass, at any moment. The work on a batch therefore runs in a task of this desk,
one per batch; callers only wait for it. ``drain`` waits for all of them when the process stops.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from soleclaim.core.errors import DomainError, Reason
from soleclaim.registry.domain import FINAL, BatchId, Entry, IssuanceState, Request, Stage, Step
from soleclaim.registry.journal import Lease
from soleclaim.registry.lease import LeaseKeeper
from soleclaim.registry.lookup import LookupUnavailable
from soleclaim.registry.workflow import Tools, Work, at, drive

_LOG = logging.getLogger(__name__)


class IssuanceDesk:
    """Takes requests, and owns the task that works on each batch."""

    def __init__(self, tools: Tools, keeper: LeaseKeeper) -> None:
        self._tools = tools
        self._keeper = keeper
        self._batches: dict[BatchId, asyncio.Task[None]] = {}
        self._requests: set[asyncio.Task[list[Entry]]] = set()

    async def issue(self, request: Request) -> list[Entry]:
        """Take each order as far as it goes, and answer where each stands.

        A repeat of the same request gets the issuances of the first: waits while they are worked on, and never
        starts them anew. Raises ``ADAPTER_STANDING_BY``, ``REQUEST_ID_REUSED``, ``STORE_BUSY``, and
        ``LOOKUP_UNAVAILABLE`` while an order could not go on for want of an answer; it goes on by itself, or when
        the request is repeated. Cancelling the caller cancels nothing.
        """
        task = asyncio.create_task(self._issue(request), name=f"request {request.request_id}")
        self._requests.add(task)
        task.add_done_callback(self._answered)
        return await asyncio.shield(task)

    def _answered(self, task: asyncio.Task[list[Entry]]) -> None:
        self._requests.discard(task)
        # Looked at here too: when the caller is gone, nobody else does, and it would be logged as a fault.
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.debug("%s: ended with %r", task.get_name(), error)

    async def _issue(self, request: Request) -> list[Entry]:
        # 1. Request: its form was checked at the door; here, whether this process may act at all.
        with at(Step.REQUEST):
            lease = self._keeper.current()
        # 3. Journal: request id, payload hash and intent are durable before anything leaves the process.
        with at(Step.JOURNAL):
            batch_id, is_new = await self._tools.journal.accept(lease, request)
        entries = await self._tools.journal.read_batch(batch_id)
        if self.is_busy(batch_id) or any(entry.state is IssuanceState.PENDING for entry in entries):
            # 2. and 4. to 8. A repeat joins the task that is at work, or goes on where it stopped.
            unanswered = False
            try:
                await asyncio.shield(self.work_on(batch_id, lambda: self._drive(batch_id, lease, is_new=is_new)))
            except LookupUnavailable:
                unanswered = True
            entries = await self._tools.journal.read_batch(batch_id)
            if unanswered and any(entry.state is IssuanceState.PENDING for entry in entries):
                raise DomainError(Reason.LOOKUP_UNAVAILABLE)
        return entries

    async def _drive(self, batch_id: BatchId, lease: Lease, *, is_new: bool) -> None:
        entries = await self._tools.journal.read_batch(batch_id)
        untouched = all(entry.stage is Stage.ACCEPTED for entry in entries)
        await drive(Work(self._tools, lease, entries, is_new=is_new and untouched))

    def is_busy(self, batch_id: BatchId) -> bool:
        """Whether a task is at work on the batch."""
        return batch_id in self._batches

    def work_on(self, batch_id: BatchId, start: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """The task at work on the batch, started now when there is none: two never work on one batch."""
        task = self._batches.get(batch_id)
        if task is None:
            task = asyncio.create_task(start(), name=f"batch {batch_id}")
            self._batches[batch_id] = task
            task.add_done_callback(lambda done: self._ended(batch_id, done))
        return task

    def _ended(self, batch_id: BatchId, task: asyncio.Task[None]) -> None:
        del self._batches[batch_id]
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, LookupUnavailable | DomainError):
            _LOG.info("batch %d: interrupted, to be gone on with: %s", batch_id, error)
        elif error is not None:
            _LOG.error("batch %d: failed, to be gone on with", batch_id, exc_info=error)

    async def drain(self, timeout_s: float) -> None:
        """Wait for the work under way; what is not done in time is cancelled, and recovered at the next start."""
        tasks: list[asyncio.Task[Any]] = [*self._requests, *self._batches.values()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def unfinished(entries: list[Entry]) -> list[Entry]:
    """The entries that are not at their end."""
    return [entry for entry in entries if entry.stage not in FINAL]
