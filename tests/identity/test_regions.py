"""GB/T 2260 below the province: codes, and the counties and prefectures that names speak of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soleclaim.identity.names import read_name
from soleclaim.identity.owners import owner_number
from soleclaim.identity.record import Description, read_profile
from soleclaim.identity.regions import Region, approval_region, read_code


@pytest.mark.parametrize(
    ("code", "region"),
    [
        ("441500", Region("441500", "44", "汕尾市", "")),
        ("320904", Region("320904", "32", "盐城市", "大丰区")),
        ("522701", Region("522701", "52", "黔南布依族苗族自治州", "都匀市")),
        ("320193", Region("320193", "32", "南京市", "")),
        ("320000", Region("320000", "32", "", "")),
    ],
)
def test_a_code_names_its_prefecture_and_county(code: str, region: Region) -> None:
    assert read_code(code) == region


@pytest.mark.parametrize("code", ["", "32", "000000", "990101", "32019x", "3201933", "３２０１９３", "\n320193"])
def test_what_is_no_code_names_nothing(code: str) -> None:
    assert read_code(code) is None


def test_a_project_code_tells_where_it_was_approved() -> None:
    assert approval_region("2509-320193-89-01-544060") == Region("320193", "32", "南京市", "")
    assert approval_region("2509-000000-89-01-544060") is None
    assert approval_region("no code") is None


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_codes(text: str) -> None:
    read_code(text)
    approval_region(text)


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
