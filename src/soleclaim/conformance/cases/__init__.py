"""All cases, in the order in which they are played."""

from typing import Final

from soleclaim.conformance.cases import (
    batch,
    connection,
    doubt,
    history,
    identity,
    issuance,
    notices,
    paging,
    recovery,
    refusal,
    repeat,
    version,
)
from soleclaim.conformance.model import Case

CASES: Final[tuple[Case, ...]] = (
    *connection.CASES,
    *version.CASES,
    *identity.CASES,
    *issuance.CASES,
    *repeat.CASES,
    *refusal.CASES,
    *doubt.CASES,
    *recovery.CASES,
    *batch.CASES,
    *paging.CASES,
    *notices.CASES,
    *history.CASES,
)
