"""Join, create or ask a person, by strong identifiers (design section 5)."""

import itertools

import pytest

from soleclaim.core.activity_id import ActivityKey
from soleclaim.identity.schemes import MAX_VALUE_LENGTH, SCHEMES, fault_of
from soleclaim.identity.strong import Contradiction, Create, Identifier, Join, decide

A, B = ActivityKey(1), ActivityKey(2)
FILING: Identifier = ("gec_filing_code", "FDWD2407150000123")
OTHER_FILING: Identifier = ("gec_filing_code", "FDWD2407150000124")
CODE: Identifier = ("cn_project_code", "2509-320193-89-01-544060")
VCS: Identifier = ("vcs", "1340")
OTHER_VCS: Identifier = ("vcs", "1341")


@pytest.mark.parametrize("identifiers", [[], [FILING], [FILING, CODE], [VCS, OTHER_VCS]])
def test_a_project_that_nothing_is_known_of_is_a_new_activity(identifiers: list[Identifier]) -> None:
    assert decide(identifiers, {}, {}, None) == Create()


def test_a_shared_identifier_joins_and_brings_the_others() -> None:
    known = {A: frozenset({FILING})}
    assert decide([CODE, FILING, VCS], {FILING: A}, known, None) == Join(A, (CODE, VCS))


def test_a_repeated_registration_joins_with_nothing_new() -> None:
    assert decide([FILING], {FILING: A}, {A: frozenset({FILING})}, A) == Join(A, ())
    assert decide([], {}, {A: frozenset()}, A) == Join(A, ())


def test_a_registered_project_may_bring_an_identifier_later() -> None:
    assert decide([CODE], {}, {A: frozenset({FILING})}, A) == Join(A, (CODE,))


def test_an_identifier_given_twice_is_added_once() -> None:
    assert decide([CODE, CODE], {}, {A: frozenset()}, A) == Join(A, (CODE,))


def test_identifiers_of_different_activities_contradict() -> None:
    found = decide([CODE, FILING], {FILING: B, CODE: A}, {A: frozenset({CODE}), B: frozenset({FILING})}, None)
    assert isinstance(found, Contradiction)
    assert found.candidates == (A, B)
    assert found.detail == "the identifiers belong to different activities"


def test_a_registered_project_that_names_anothers_identifier_contradicts() -> None:
    found = decide([FILING], {FILING: B}, {A: frozenset(), B: frozenset({FILING})}, A)
    assert isinstance(found, Contradiction)
    assert found.candidates == (A, B)


def test_two_values_of_a_single_valued_scheme_contradict_within_one_request() -> None:
    assert decide([FILING, OTHER_FILING], {}, {}, None) == Contradiction(
        (), "two values of scheme gec_filing_code on one activity"
    )


def test_a_second_value_of_a_single_valued_scheme_contradicts_what_is_known() -> None:
    found = decide([CODE, OTHER_FILING], {CODE: A}, {A: frozenset({CODE, FILING})}, None)
    assert found == Contradiction((A,), "two values of scheme gec_filing_code on one activity")


def test_schemes_with_several_registrations_of_one_plant_join() -> None:
    """rules.md B7: one plant, several registrations."""
    assert decide([VCS, OTHER_VCS], {VCS: A}, {A: frozenset({VCS})}, None) == Join(A, (OTHER_VCS,))


def test_values_that_a_person_let_stand_together_do_not_contradict_again() -> None:
    known = {A: frozenset({FILING, OTHER_FILING})}
    owners = {FILING: A, OTHER_FILING: A}
    assert decide([FILING, CODE], owners, known, None) == Join(A, (CODE,))
    assert decide([FILING, OTHER_FILING], owners, known, A) == Join(A, ())
    third: Identifier = ("gec_filing_code", "FDWD2407150000125")
    assert decide([FILING, third], owners, known, A) == Contradiction(
        (A,), "two values of scheme gec_filing_code on one activity"
    )


def test_what_a_person_has_seen_leads_to_no_other_activity() -> None:
    owners, known = {FILING: A, CODE: B}, {A: frozenset({FILING}), B: frozenset({CODE})}
    assert decide([FILING, CODE], owners, known, A, frozenset({(CODE, B)})) == Join(A, ())
    # Only for the project that was decided on, and only for what was there.
    assert isinstance(decide([FILING, CODE], owners, known, None, frozenset({(CODE, B)})), Contradiction)
    assert isinstance(decide([FILING, CODE], owners, known, A, frozenset({(FILING, A)})), Contradiction)
    # And only against the activity that had it then.
    assert isinstance(decide([FILING, CODE], owners, known, A, frozenset({(CODE, ActivityKey(99))})), Contradiction)
    # What nobody has is still brought.
    assert decide([FILING, VCS], owners, known, A, frozenset({(VCS, B)})) == Join(A, (VCS,))


def test_the_order_of_identifiers_does_not_change_the_decision() -> None:
    owners = {FILING: A, VCS: B}
    known = {A: frozenset({FILING}), B: frozenset({VCS})}
    for count in range(4):
        for chosen in itertools.combinations([FILING, CODE, VCS, OTHER_VCS], count):
            kinds = {type(decide(list(order), owners, known, None)) for order in itertools.permutations(chosen)}
            assert len(kinds) == 1


def test_a_join_never_puts_two_single_values_on_one_activity() -> None:
    """Every combination of a few identifiers, owners and registrations."""
    pool = [FILING, OTHER_FILING, CODE, VCS]
    for owner_of in itertools.product((None, A, B), repeat=len(pool)):
        owners = {identifier: key for identifier, key in zip(pool, owner_of, strict=True) if key is not None}
        known = {key: frozenset(i for i, owner in owners.items() if owner == key) for key in (A, B)}
        if any({FILING, OTHER_FILING} <= held for held in known.values()):
            continue  # such an activity cannot come about
        for count, registered in itertools.product(range(len(pool) + 1), (None, A, B)):
            for chosen in itertools.combinations(pool, count):
                decision = decide(chosen, owners, known, registered)
                concerned = {owners[each] for each in chosen if each in owners} | ({registered} - {None})
                if isinstance(decision, Join):
                    assert concerned == {decision.key}
                    assert not {FILING, OTHER_FILING} <= known[decision.key] | set(decision.new)
                    assert known[decision.key].isdisjoint(decision.new)
                    assert set(chosen) <= known[decision.key] | set(decision.new)
                elif isinstance(decision, Create):
                    assert not concerned
                else:
                    assert set(decision.candidates) == concerned


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_schemes_example_is_one_of_its_values(scheme: str) -> None:
    row = SCHEMES[scheme]
    assert fault_of(scheme, row.example) is None
    assert row.basis


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("value", ["", " ", "\n", "x\n", "绿证", "1" * (MAX_VALUE_LENGTH + 1), "'; DROP TABLE", "\x00"])
def test_what_is_no_value_of_a_scheme_is_told_with_an_example(scheme: str, value: str) -> None:
    assert fault_of(scheme, value) == f"not a value of scheme {scheme}; it looks like {SCHEMES[scheme].example}"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_value_with_something_around_it_is_refused(scheme: str) -> None:
    example = SCHEMES[scheme].example
    for wrong in (f" {example}", f"{example} ", f"{example}\n", f"#{example}", example.replace(example[-1], "٣")):
        assert fault_of(scheme, wrong) is not None


@pytest.mark.parametrize(
    ("scheme", "value"),
    [("cdm", "0"), ("vcs", "01340"), ("gec_filing_code", "fdwd2407150000123"), ("gec_filing_code", "FDWD240715000012"),
     ("cn_project_code", "2509-320193-89-01-54406"), ("gs", "GS7495"), ("arb_project", "CALS504")],
)  # fmt: skip
def test_near_misses_are_refused(scheme: str, value: str) -> None:
    assert fault_of(scheme, value) is not None


def test_an_unknown_scheme_is_told_with_the_known_ones() -> None:
    told = fault_of("xyz" * 100, "1")
    assert told is not None
    assert all(scheme in told for scheme in SCHEMES)
    assert len(told) < 300
