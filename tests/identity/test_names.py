"""Names taken apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soleclaim.identity.names import EMPTY, read_name


def test_words_that_tell_nothing_are_left_out() -> None:
    name = read_name("Sichuan Jialingjiang River Shaxi 87 MW Hydropower Project P.R. China")
    assert (name.words, name.head, name.capacity_mw) == (("jialingjiang", "shaxi"), "shaxi", 87.0)
    assert name.provinces == {"51"}
    assert name.technologies == {"hydro"}


def test_chinese_becomes_pinyin() -> None:
    name = read_name("齐热哈塔尔水电站")
    assert "".join(name.words) == "qirehataer"
    assert name.technologies == {"hydro"}


def test_traditional_characters_are_the_simplified_ones() -> None:
    assert read_name("冲乎尔水電站") == read_name("冲乎尔水电站")


@pytest.mark.parametrize(
    ("text", "designators"),
    [
        ("Golmud (Phase II) PV", {"2"}), ("Golmud Second Phase", {"2"}), ("大盈江一级水电站", {"1"}),
        ("Wutuhe Firstlevel", {"1"}), ("Xinhua 1B Wind Farm", {"1b"}), ("王庄二期风电场", {"2"}),
        ("Dun Law Extension", {"extension"}), ("Tangy Wind Farm", set()), ("Foo PA450", {"pa450"}),
    ],
)  # fmt: skip
def test_phases_stages_and_codes_stand_apart(text: str, designators: set[str]) -> None:
    assert read_name(text).designators == designators


@pytest.mark.parametrize(
    ("text", "capacity_mw"),
    [
        ("Suqian 2*12MW Biomass", 24.0),
        ("49,5 MW Wind", 49.5),
        ("800kW", 0.8),
        ("5万千瓦风电场", 50.0),
        ("Foo 12", None),
    ],
)
def test_the_capacity_in_a_name_is_read(text: str, capacity_mw: float | None) -> None:
    assert read_name(text).capacity_mw == capacity_mw


@pytest.mark.parametrize(
    "text", ["GS3429 CER to VER conversion Foo Wind", "Foo Wind_preCDM VERs", "Foo Wind - CER Conversion"]
)
def test_register_text_is_no_name(text: str) -> None:
    assert read_name(text).words == ("foo",)


@pytest.mark.parametrize("text", ["", "   ", "\0\x07\u202e", "!!!"])
def test_nothing_to_read_is_an_empty_name(text: str) -> None:
    assert read_name(text) == EMPTY


def test_a_name_of_ten_thousand_characters_is_cut() -> None:
    assert len(read_name("Foo " * 2500).words) <= 128


@settings(max_examples=300)
@given(st.text(max_size=80))
def test_no_text_breaks_the_reading(text: str) -> None:
    read_name(text)
