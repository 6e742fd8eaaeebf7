"""What clients share that ask over HTTP and JSON: the reads of the port, by questions that a family puts in its way."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import httpx

from soleclaim.core.period import Period
from soleclaim.natives.answers import Unclear, told
from soleclaim.natives.paging import reconciled
from soleclaim.natives.settings import NativeSettings
from soleclaim.natives.transport import JsonTransport
from soleclaim.registry.native import AbsenceProof, MeasuredOutcome, NativeCapabilities, NativeIssuance, NativeProject


class JsonNative(ABC):
    """``NativeRegistry`` but for ``issue`` and ``void``.

    A family says how its registry is asked and answers; its methods raise ``Unclear`` where an answer allows no
    conclusion.
    """

    def __init__(
        self,
        settings: NativeSettings,
        absence_proof: AbsenceProof,
        *,
        max_batch: int = 1,
        auth: httpx.Auth | None = None,
    ) -> None:
        self._registry = settings.registry
        self._http = JsonTransport(settings.url, timeout_s=settings.timeout_s, ca_file=settings.ca_file, auth=auth)
        self._capabilities = NativeCapabilities(
            absence_proof, longest_under_way=timedelta(seconds=settings.longest_under_way_s), max_batch=max_batch
        )

    # -- What a family says ----------------------------------------------------------------------------------------

    @abstractmethod
    async def _project(self, native_project_id: str) -> NativeProject | None: ...

    @abstractmethod
    async def _outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None: ...

    @abstractmethod
    async def _by_reference(self, external_reference: str) -> NativeIssuance | None: ...

    @abstractmethod
    async def _issuances(self, page: int) -> tuple[int, Sequence[NativeIssuance | Unclear]]: ...

    # -- The port --------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> NativeCapabilities:
        """Constant for the life of the object."""
        return self._capabilities

    async def get_project(self, native_project_id: str) -> NativeProject | None:
        """See ``NativeRegistry``."""
        return await told(self._project(native_project_id), f"project {native_project_id}")

    async def get_outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:
        """See ``NativeRegistry``."""
        return await told(self._outcome(native_project_id, period), f"outcome of {native_project_id} in {period}")

    async def find(self, external_reference: str) -> NativeIssuance | None:
        """See ``NativeRegistry``."""
        return await told(self._by_reference(external_reference), f"reference {external_reference}")

    def list_issuances(self) -> AsyncIterator[NativeIssuance]:
        """All issuances, oldest first, reconciled with the announced total."""
        return reconciled(self._issuance_page)

    async def _issuance_page(self, page: int) -> tuple[int, Sequence[NativeIssuance | Unclear]]:
        return await told(self._issuances(page), f"page {page} of the issuances")

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()
