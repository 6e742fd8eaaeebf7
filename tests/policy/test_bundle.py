"""Policy bundles: faults are named all at once; conflicts follow from attributes (design section 4)."""

import hashlib
from importlib import resources

import pytest

from soleclaim.policy.bundle import DEFAULT_BUNDLE, BundleFault, Declaration, default_bundle, read_bundle

SOURCE = resources.files("soleclaim.policy").joinpath("bundles", DEFAULT_BUNDLE).read_bytes()
SMALL = """
version = "1"
effective_from = 2026-01-01
[attributes.REDUCTION]
number = 1
zh = "减排"
en = "reduction"
basis = "R4"
[registries.ccer]
zh = "登记簿"
en = "registry"
basis = "B1"
[instruments.CCER]
registry = "ccer"
base_unit = "kgCO2e"
base_units_per_unit = 1000
attributes = ["REDUCTION"]
basis = "D"
[rules]
"""


def conflict(one: str, two: str) -> bool:
    numbers = default_bundle().attribute_numbers
    return not set(numbers[one]).isdisjoint(numbers[two])


@pytest.mark.parametrize(
    ("one", "two"),
    [("CCER", "CCER"), ("CCER", "GEC"), ("GEC", "CCER"), ("GEC", "GEC"), ("ARBOC", "ARBOC"), ("ARBOC", "CCER"),
     ("ARBOC", "GEC")],
)  # fmt: skip
def test_instruments_on_one_outcome_conflict_as_the_matrix_says(one: str, two: str) -> None:
    """rules.md D: credits and certificates claim the same reduction."""
    assert conflict(one, two)


def test_a_certificate_leaves_the_cap_free_and_a_credit_does_not() -> None:
    """C13 and R88."""
    bundle = default_bundle()
    assert bundle.instruments["GEC"].attributes == ("REDUCTION",)
    assert set(bundle.instruments["CCER"].attributes) == {"REDUCTION", "CAP"}


def test_every_instrument_conflicts_with_itself() -> None:
    assert all(conflict(code, code) for code in default_bundle().instruments)


def test_units_are_whole_base_units() -> None:
    """One tonne is 1000 kg, one GEC is 1000 kWh."""
    for code, base_unit in (("CCER", "kgCO2e"), ("GEC", "kWh"), ("ARBOC", "kgCO2e")):
        instrument = default_bundle().instruments[code]
        assert (instrument.base_unit, instrument.base_units_per_unit) == (base_unit, 1000)


def test_the_hash_is_that_of_the_file() -> None:
    assert default_bundle().hash == hashlib.sha256(SOURCE).hexdigest()
    assert read_bundle(SOURCE + b"\n").hash != default_bundle().hash


def test_a_registry_issues_its_own_instruments() -> None:
    bundle = default_bundle()
    assert bundle.instruments_of("ccer") == ("CCER",)
    assert bundle.instruments_of("nobody") == ()
    assert {row.registry for row in bundle.instruments.values()} <= set(bundle.registries)


def test_every_entry_names_its_basis_and_both_languages() -> None:
    bundle = default_bundle()
    assert all(row.basis and row.zh and row.en for row in bundle.registries.values())
    assert all(row.basis and row.zh and row.en for row in bundle.rules.values())
    assert all(row.basis for row in bundle.instruments.values())


@pytest.mark.parametrize(
    ("declaration", "unmet"),
    [
        (Declaration(no_other_application=True, no_claim_after_transfer=True), set()),
        (Declaration(no_other_application=False, no_claim_after_transfer=True), {"declaration-no-other-application"}),
        (
            Declaration(no_other_application=True, no_claim_after_transfer=False),
            {"declaration-no-claim-after-transfer"},
        ),
        (
            Declaration(no_other_application=False, no_claim_after_transfer=False),
            {"declaration-no-other-application", "declaration-no-claim-after-transfer"},
        ),
    ],
)
def test_all_rules_that_a_declaration_does_not_meet_are_named(declaration: Declaration, unmet: set[str]) -> None:
    assert set(default_bundle().unmet_rules(declaration)) == unmet


def test_a_small_bundle_is_read() -> None:
    bundle = read_bundle(SMALL.encode())
    assert bundle.attribute_numbers == {"CCER": (1,)}
    assert bundle.unmet_rules(Declaration(no_other_application=False, no_claim_after_transfer=False)) == ()


def test_faults_of_shape_are_named_all_at_once() -> None:
    broken = (
        SMALL.replace("number = 1", "number = 31")
        .replace('base_unit = "kgCO2e"', 'base_unit = "MWh"')
        .replace("base_units_per_unit = 1000", "base_units_per_unit = 0")
        .replace('basis = "B1"', "")
        .replace('version = "1"', 'version = "1"\nsurprise = 1')
    )
    with pytest.raises(BundleFault) as fault:
        read_bundle(broken.encode())
    for place in (
        "attributes.REDUCTION.number",
        "instruments.CCER.base_unit",
        "instruments.CCER.base_units_per_unit",
        "registries.ccer.basis",
        "surprise",
    ):
        assert place in str(fault.value)


def test_faults_of_reference_are_named_all_at_once() -> None:
    broken = SMALL.replace('registry = "ccer"', 'registry = "vcs"').replace('["REDUCTION"]', '["REDUCTION", "X", "Y"]')
    broken += '[attributes.CAP]\nnumber = 1\nzh = "额度"\nen = "cap"\nbasis = "R88"\n'
    with pytest.raises(BundleFault) as fault:
        read_bundle(broken.encode())
    for part in (
        "vcs is not in [registries]",
        "X is not in [attributes]",
        "Y is not in [attributes]",
        "share a number",
    ):
        assert part in str(fault.value)


@pytest.mark.parametrize("content", [b"", b"version = ", b"\xff\xfe", SMALL.encode("utf-16"), b"version = 1"])
def test_what_is_no_bundle_is_a_fault_and_nothing_else(content: bytes) -> None:
    with pytest.raises(BundleFault):
        read_bundle(content)


@pytest.mark.parametrize("missing", ["version", "effective_from", "[rules]", "attributes ="])
def test_nothing_is_filled_in_by_default(missing: str) -> None:
    broken = "\n".join(line for line in SMALL.splitlines() if not line.startswith(missing))
    with pytest.raises(BundleFault, match="required"):
        read_bundle(broken.encode())
