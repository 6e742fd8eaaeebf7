"""What clients share whose registry guards references: one reference stands for one order, for ever."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final

import httpx

from soleclaim.natives.answers import placed
from soleclaim.natives.json_native import JsonNative
from soleclaim.natives.settings import NativeSettings
from soleclaim.registry.native import (
    AbsenceProof,
    NativeIssuance,
    NativeOrder,
    NativeRefusal,
    NativeResult,
    NativeUnavailable,
)

PAGE_SIZE: Final = 50
"""The most that these registries serve in a page."""

LASTING: Final[Mapping[str, bool]] = {
    "BAD_REQUEST": True,
    "PROJECT_NOT_FOUND": False,
    "NOT_MEASURED": False,
    # An amount may still be corrected while nothing is issued on it.
    "EXCEEDS_RESULT": False,
    "STALE_TOKEN": True,
}
"""The refusals that mean "nothing exists under this reference", and whether they last.

REFERENCE_REUSED is missing on purpose: it says that another order's issuance *does* exist under the reference.
"""


class GuardedNative(JsonNative):
    """``NativeRegistry`` of the second kind: a unique reference, and nothing that can be voided."""

    def __init__(self, settings: NativeSettings, *, auth: httpx.Auth | None = None) -> None:
        super().__init__(settings, AbsenceProof.RESEND, auth=auth)

    @abstractmethod
    async def _place(self, order: NativeOrder) -> NativeIssuance | NativeRefusal:
        """Send the order once. What is refused here, unsent, must be refused for ever: see ``AbsenceProof.RESEND``."""

    async def issue(self, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        """See ``NativeRegistry``; one order goes in a call."""
        return await placed(orders, self._place, registry=self._registry)

    async def void(self, external_reference: str) -> NativeIssuance | None:
        """Not possible here; see ``AbsenceProof.RESEND``."""
        raise NativeUnavailable(
            f"{self._registry} cannot void reference {external_reference}; the same order is sent again instead"
        )
