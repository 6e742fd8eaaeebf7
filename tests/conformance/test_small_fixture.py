"""A fixture with few projects skips cases; a correct adapter fails none for it."""

from types import SimpleNamespace
from typing import Any

import pytest

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.conformance.cases.paging import conditions_hold, tokens_are_bound
from soleclaim.conformance.model import Case, Failed, Skipped


def a_stand(told: int) -> Any:
    """Of an adapter whose lists are empty, though ``told`` issuances were told."""

    async def call(_method: object, _request: object) -> pb.ListIssuancesResponse:
        return pb.ListIssuancesResponse()

    async def listed() -> list[pb.Issuance]:
        return []

    operator = SimpleNamespace(registry=SimpleNamespace(ListIssuances=None), call=call)
    issued = pb.Issuance(state=pb.ISSUANCE_STATE_ISSUED)
    return SimpleNamespace(operator=operator, listed=listed, told={str(each): issued for each in range(told)})


@pytest.mark.parametrize("case", [conditions_hold, tokens_are_bound], ids=lambda case: case.number)
async def test_a_list_of_nothing_fails_only_where_something_was_issued(case: Case) -> None:
    with pytest.raises(Skipped):
        await case.play(a_stand(0))
    with pytest.raises(Failed):
        await case.play(a_stand(2))
