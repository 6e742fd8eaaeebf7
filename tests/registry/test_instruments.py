"""The unit size is said twice: in the policy bundle, for the lookup, and here, for adapters that never load it."""

import pytest

from soleclaim.policy.bundle import default_bundle
from soleclaim.registry.instruments import INSTRUMENTS


@pytest.mark.parametrize("registry", INSTRUMENTS)
def test_an_instrument_is_the_same_in_the_policy_bundle(registry: str) -> None:
    ours = INSTRUMENTS[registry]
    theirs = default_bundle().instruments[ours.code]
    assert (registry, ours.base_unit, ours.base_units_per_unit) == (
        theirs.registry,
        theirs.base_unit,
        theirs.base_units_per_unit,
    )
