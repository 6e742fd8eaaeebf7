"""Policy bundles: faults are named all at once; conflicts follow from attributes (design section 4)."""

import hashlib
from datetime import date
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
[boundaries]
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


def test_all_but_allowances_are_issued_on_measured_results() -> None:
    bundle = default_bundle()
    allocating = {
        each for row in bundle.boundaries.values() if row.scheme == "emission_trading" for each in row.registries
    }
    assert {"cea", "szea", "fjea"} <= allocating
    allocated = {row.registry for row in bundle.instruments.values() if not row.measured}
    assert allocated == allocating


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


@pytest.mark.parametrize("missing", ["version", "effective_from", "[rules]", "[boundaries]", "attributes ="])
def test_nothing_is_filled_in_by_default(missing: str) -> None:
    broken = "\n".join(line for line in SMALL.splitlines() if not line.startswith(missing))
    with pytest.raises(BundleFault, match="required"):
        read_bundle(broken.encode())


def test_every_cap_and_market_has_a_boundary_rule_and_nothing_else_has() -> None:
    """C4, C5: allowances and indicators, not credits and certificates."""
    bundle = default_bundle()
    covering = {row.registry for row in bundle.instruments.values() if row.attributes == ("CAP",)}
    assert set(bundle.boundary_of) == covering
    assert {row.scheme for row in bundle.boundaries.values()} == {"emission_trading", "energy_use"}


@pytest.mark.parametrize(("instrument", "refused"), [("CCER", 2), ("CQCER", 2), ("CEA", 2), ("GEC", 0), ("GP-BJ", 0)])
def test_a_boundary_is_closed_to_what_claims_room_under_a_cap(instrument: str, refused: int) -> None:
    assert len(default_bundle().boundaries_against(instrument, date(2026, 11, 1))) == refused


def test_a_boundary_rule_is_dated() -> None:
    row = default_bundle().boundaries["source-inside-covered-boundary"]
    ended = row.model_copy(update={"effective_to": date(2030, 1, 1)})
    assert [ended.is_in_force(day) for day in (date(2023, 2, 14), row.effective_from, date(2029, 12, 31))] == [
        False, True, True,
    ]  # fmt: skip
    assert not ended.is_in_force(date(2030, 1, 1))
    assert default_bundle().boundaries_against("CCER", date(2020, 1, 1)) == ()


def test_a_rule_that_the_gateway_applies_against_a_schemes_own_says_so() -> None:
    """C5: Chongqing."""
    row = default_bundle().boundaries["source-inside-covered-boundary"]
    assert row.policy_override == ("CQCER",)
    assert "policy_override" in row.en
    assert "policy_override" in row.zh


def test_faults_of_boundaries_are_named_all_at_once() -> None:
    one = (
        '[boundaries.{}]\nscheme = "energy_use"\nregistries = ["ccer", "gone"]\nattribute = "ROOM"\n'
        'effective_from = 2026-01-01\npolicy_override = ["XYZ"]\nzh = "边界"\nen = "boundary"\nbasis = "R91"\n'
    )
    rule = '[rules.same]\nrequires = "no_other_application"\nzh = "同"\nen = "same"\nbasis = "R98"\n'
    with pytest.raises(BundleFault) as fault:
        read_bundle((SMALL + rule + one.format("same") + one.format("other")).encode())
    for part in (
        "boundaries.same: a rule has this id too",
        "boundaries.same.registries: gone is not in the bundle",
        "boundaries.other.attribute: ROOM is not in the bundle",
        "boundaries.other.policy_override: XYZ is not in the bundle",
        "registry ccer is named twice",
    ):
        assert part in str(fault.value)


def test_an_exchange_settles_what_some_registry_issues() -> None:
    """R8: green power moves the certificates of the centre."""
    settling = {code: row.settles for code, row in default_bundle().registries.items() if row.settles}
    assert settling == {"gp-bj": "gec", "gp-gz": "gec", "gp-nm": "gec"}
    exchange = '[registries.gp]\nzh = "交易中心"\nen = "exchange"\nbasis = "R8"\nsettles = "gone"\n'
    with pytest.raises(BundleFault, match=r"registries\.gp\.settles: gone issues nothing"):
        read_bundle((SMALL + exchange).encode())
