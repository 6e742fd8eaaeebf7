"""Keeps this process's lease on the journal, or stands by until the other process's ends."""

import asyncio
import logging
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from soleclaim.core.errors import DomainError
from soleclaim.registry.journal import Journal, Lease, LeaseLost

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """``renew_every`` well under ``ttl``: a renewal may fail and be tried again before the lease ends."""

    ttl: timedelta = timedelta(seconds=15)
    renew_every: timedelta = timedelta(seconds=3)


class LeaseKeeper:
    """Holds the lease while ``run`` runs. ``current`` is for whoever wants to write."""

    def __init__(self, journal: Journal, registry: str, times: LeaseTimes) -> None:
        self._journal = journal
        self._registry = registry
        self._times = times
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lease: Lease | None = None

    def current(self) -> Lease:
        """The lease in force; ``LeaseLost`` (ADAPTER_STANDING_BY) when this process has none."""
        if self._lease is None:
            raise LeaseLost(self._registry)
        self._lease.check()
        return self._lease

    @property
    def active(self) -> bool:
        """Whether this process has the lease now."""
        try:
            self.current()
        except LeaseLost:
            return False
        return True

    async def step(self) -> bool:
        """Renew the lease or try to take it, once. False when the store did not answer."""
        try:
            if self._lease is None:
                self._lease = await self._journal.take_lease(self._holder, self._times.ttl)
                if self._lease is not None:
                    _LOG.info("registry %s: active, lease epoch %d", self._registry, self._lease.epoch)
            else:
                await self._journal.renew_lease(self._lease, self._times.ttl)
        except LeaseLost:
            _LOG.warning("registry %s: lease lost, standing by", self._registry)
            self._lease = None
        except DomainError as error:
            # The store is busy or away: the lease runs on by itself until its end, then ``current`` refuses.
            _LOG.warning("registry %s: lease not renewed: %s", self._registry, error.message_en)
            return False
        return True

    async def run(self) -> None:
        """Keep going until cancelled. Ends with ``JournalFault`` when the journal is another registry's."""
        while True:
            answered = await self.step()
            pause = self._times.renew_every if answered else self._times.renew_every / 4
            await asyncio.sleep(pause.total_seconds())

    async def release(self) -> None:
        """Give the lease up at an orderly stop, so that a twin need not wait for its end."""
        if self._lease is not None:
            with suppress(DomainError):
                await self._journal.release_lease(self._lease)
            self._lease = None
