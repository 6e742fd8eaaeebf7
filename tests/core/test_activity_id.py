"""The activity id: shape, known values, and what its check digits catch (design section 5)."""

import random
import re

import pytest

from soleclaim.core.activity_id import (
    ALPHABET,
    ActivityId,
    ActivityIdError,
    ActivityKey,
    activity_key,
    activity_urn,
    make_activity_id,
    new_activity_key,
    parse_activity_id,
    print_in_fours,
)


def iso_7064_remainder(text: str) -> int:
    """MOD 97-10 by its definition: letters as 10 to 35, the whole number modulo 97; valid texts leave 1."""
    return int("".join(str(int(character, 36)) for character in text)) % 97


@pytest.mark.parametrize(
    ("country", "key", "expected"),
    [
        # Worked out by hand with the definition above, apart from the code under test.
        ("CN", 0, "CN000000000000"),
        ("CN", 31, "CN00000000000Z"),
        ("CN", 32, "CN000000000010"),
        ("US", 2**60 - 1, "USZZZZZZZZZZZZ"),
    ],
)
def test_known_keys_give_known_ids(country: str, key: int, expected: str) -> None:
    made = make_activity_id(country, ActivityKey(key))
    assert made[:-2] == expected
    [check] = [digits for digits in map("{:02d}".format, range(2, 99)) if iso_7064_remainder(expected + digits) == 1]
    assert made[-2:] == check


def test_the_check_digits_are_those_of_an_iban_with_the_same_letters() -> None:
    """IBAN uses the same system: GB82 WEST 1234 5698 7654 32 (ISO 13616), moved to the end, leaves 1."""
    assert iso_7064_remainder("WEST12345698765432" + "GB82") == 1


@pytest.mark.parametrize(
    "key", [0, 1, 31, 32, 2**59, 2**60 - 1, *(random.Random(1).getrandbits(60) for _ in range(50))]
)
def test_an_id_gives_its_key_back(key: int) -> None:
    made = make_activity_id("CN", ActivityKey(key))
    assert activity_key(parse_activity_id(made)) == key
    assert iso_7064_remainder(made) == 1
    assert re.fullmatch(rf"CN[{ALPHABET}]{{12}}\d\d", made)


def slips_through(text: str) -> bool:
    try:
        parse_activity_id(text)
    except ActivityIdError:
        return False
    return True


def test_a_wrong_character_is_detected() -> None:
    """A letter for a letter or a digit for a digit: always. Letter for digit shifts the number, and a few slip by."""
    numbers = random.Random(3)
    tried = missed = 0
    for _ in range(40):
        made = make_activity_id("CN", ActivityKey(numbers.getrandbits(60)))
        for place, right in enumerate(made):
            for wrong in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ":
                if wrong == right:
                    continue
                tried += 1
                if slips_through(made[:place] + wrong + made[place + 1 :]):
                    missed += 1
                    assert wrong.isdigit() is not right.isdigit(), (made, place, wrong)
    assert tried == 40 * 16 * 35
    assert missed / tried < 0.005, f"{missed} of {tried}"


def test_two_neighbours_in_wrong_order_are_detected() -> None:
    """Of two letters or two digits: always. Of a letter and a digit, a few slip by."""
    numbers = random.Random(2)
    tried = missed = 0
    for _ in range(300):
        made = make_activity_id("CN", ActivityKey(numbers.getrandbits(60)))
        for place in range(15):
            left, right = made[place], made[place + 1]
            if left == right:
                continue
            tried += 1
            if slips_through(made[:place] + right + left + made[place + 2 :]):
                missed += 1
                assert left.isdigit() is not right.isdigit(), (made, place)
    assert tried > 4000
    assert missed / tried < 0.01, f"{missed} of {tried}"


def test_keys_are_random_and_fit() -> None:
    keys = {new_activity_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(0 <= key < 2**60 for key in keys)
    assert max(keys) > 2**58


@pytest.mark.parametrize("key", [2**60, 2**63, -1])
def test_a_key_that_does_not_fit_is_refused(key: int) -> None:
    with pytest.raises(ActivityIdError, match="between 0 and"):
        make_activity_id("CN", ActivityKey(key))


@pytest.mark.parametrize("country", ["", "C", "CHN", "cn", "C1", "ＣＮ", "CN\n"])
def test_a_country_is_two_capital_letters(country: str) -> None:
    with pytest.raises(ActivityIdError, match="two capital letters"):
        make_activity_id(country, ActivityKey(1))


def test_the_printed_form_and_lower_case_are_read() -> None:
    made = make_activity_id("CN", ActivityKey(0x123456789ABCDEF))
    printed = print_in_fours(made)
    assert [len(part) for part in printed.split(" ")] == [4, 4, 4, 4]
    for form in (printed, printed.lower(), printed.replace(" ", "-"), f" {made} "):
        assert parse_activity_id(form) == made


@pytest.mark.parametrize(
    "text",
    ["", "CN", "CN00000000000", "CN" + "0" * 15, "CNIIIIIIIIIIII00", "CN00000000000000\x00", "１" * 16, "C" * 1000],
)
def test_what_is_no_id_is_refused_with_its_shape(text: str) -> None:
    with pytest.raises(ActivityIdError, match="16 characters"):
        parse_activity_id(text)


def test_a_wrong_check_digit_is_told_as_such() -> None:
    made = make_activity_id("CN", ActivityKey(7))
    wrong = ActivityId(made[:-1] + ("0" if made[-1] != "0" else "1"))
    with pytest.raises(ActivityIdError, match="check digits do not fit"):
        parse_activity_id(wrong)


def test_the_urn_holds_the_compact_id() -> None:
    assert activity_urn(parse_activity_id("cn7k-3m9q-2x4t-8a21")) == "urn:soleclaim:activity:CN7K3M9Q2X4T8A21"
