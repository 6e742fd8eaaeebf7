"""All services of the lookup."""

from collections.abc import Callable

import grpc

from soleclaim.lookup.grpc import activities, coverage, directory, disputes, history, locks, reviews, settlements
from soleclaim.lookup.ports import LookupStore
from soleclaim.policy.bundle import Bundle


def lookup_services(store: LookupStore, bundle: Bundle) -> list[tuple[str, Callable[[grpc.aio.Server], None]]]:
    """(full name, how to add it) of each."""
    return [
        (activities.SERVICE, activities.ActivityServicer(store, bundle).register),
        (activities.OUTCOME_SERVICE, activities.OutcomeServicer(store, bundle).register),
        (locks.SERVICE, locks.IssuanceLockServicer(store, bundle).register),
        (coverage.SERVICE, coverage.CoverageServicer(store, bundle).register),
        (reviews.SERVICE, reviews.ReviewServicer(store, bundle).register),
        (settlements.SERVICE, settlements.SettlementServicer(store, bundle).register),
        (history.SERVICE, history.HistoryServicer(store, bundle).register),
        (disputes.SERVICE, disputes.DisputeServicer(store, bundle).register),
        (directory.SERVICE, directory.RegistryDirectoryServicer(store, bundle).register),
        (directory.EVENT_SERVICE, directory.EventServicer(store).register),
    ]
