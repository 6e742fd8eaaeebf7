"""GB/T 2260 below the province: the counties and prefectures that names speak of."""

import pytest

from soleclaim.identity.names import read_name
from soleclaim.identity.owners import owner_number
from soleclaim.identity.record import Description, read_profile


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("江苏大丰生物质发电项目", {"320982"}), ("汕尾市风电场", {"441500"}), ("揭阳垃圾焚烧发电厂", {"445200"}),
        ("Jiangsu Dafeng Wind Farm", {"320982"}), ("Guangdong Jieyang Wind", {"445200"}),
        ("延边水电站", {"222400"}), ("大通回族土族自治县水电站", {"630121"}),
        ("金沙江波罗水电站", set()), ("山东平原生物质", {"371426"}),
        ("Foo Wind Farm", set()), ("", set()),
    ],
)  # fmt: skip
def test_names_speak_of_counties_and_prefectures(text: str, codes: set[str]) -> None:
    assert read_name(text).regions == codes


def test_of_counties_that_sound_alike_those_of_the_named_province_remain() -> None:
    described = Description("1", name="Yi County Biomass", region="Hebei", country="China")
    assert read_profile(described).regions == {"130633"}


def test_the_province_of_a_chinese_place_is_known_without_being_named() -> None:
    assert read_profile(Description("1", name_local="深州市垃圾焚烧发电厂")).provinces == {"13"}
    assert read_profile(Description("1", name="Foo Dafeng Wind Farm")).provinces == set(), "sounds fit several places"


def test_the_region_in_a_companys_number_is_no_place_of_its_plant() -> None:
    number = owner_number("uscc", "91110000600037341L")
    assert number is not None
    profile = read_profile(Description("1", name_local="某风电场", owner_numbers=(number,), country="CN"))
    assert profile.regions == profile.provinces == set()
