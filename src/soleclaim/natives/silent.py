"""What clients share whose registry issues nothing: every order is refused unsent, and no reference was ever used."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from soleclaim.core.period import Period
from soleclaim.natives.settings import NativeSettings
from soleclaim.registry.native import (
    AbsenceProof,
    MeasuredOutcome,
    NativeCapabilities,
    NativeIssuance,
    NativeOrder,
    NativeRefusal,
    NativeResult,
)


class SilentNative:
    """``NativeRegistry`` but for ``get_project`` and ``close``, of a registry that cannot be asked to issue."""

    def __init__(self, settings: NativeSettings) -> None:
        self._registry = settings.registry

    @property
    def capabilities(self) -> NativeCapabilities:
        """Constant for the life of the object. Nothing is ever sent, so nothing is ever under way."""
        return NativeCapabilities(AbsenceProof.VOID, longest_under_way=timedelta(), max_batch=1, issues=False)

    async def get_outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:  # noqa: ARG002  the port
        """It measures nothing."""
        return None

    async def issue(self, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        """Refused here, unsent, for ever."""
        message = f"{self._registry} issues nothing; not sent"
        return [NativeRefusal("ISSUES_NOTHING", message, lasting=True) for _ in orders]

    async def find(self, external_reference: str) -> NativeIssuance | None:  # noqa: ARG002  the port
        """No reference was ever used."""
        return None

    async def void(self, external_reference: str) -> NativeIssuance | None:
        """Every reference is void from the beginning; the issuance, where one is known by that reference."""
        return await self.find(external_reference)

    async def list_issuances(self) -> AsyncIterator[NativeIssuance]:
        """None."""
        nothing: tuple[NativeIssuance, ...] = ()
        for each in nothing:
            yield each
