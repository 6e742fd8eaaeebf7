"""Names taken apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soleclaim.identity.names import EMPTY, read_name
from soleclaim.identity.owners import read_owners


def test_words_that_tell_nothing_are_left_out() -> None:
    name = read_name("Sichuan Jialingjiang River Shaxi 87 MW Hydropower Project P.R. China")
    assert (name.words, name.head, name.capacity_mw) == (("jialingjiang", "shaxi"), "shaxi", 87.0)
    assert name.provinces == {"51"}
    assert name.technologies == {"hydro"}


@pytest.mark.parametrize(
    "text", ["\u3164", "\u3164 \u200b\u2060", "\U000e0041\U000e0042", "\u115f\u1160\uffa0", "\u2800\ufe0f", "\u00ad"]
)
def test_a_name_that_shows_nothing_is_empty(text: str) -> None:
    assert read_name(text) == EMPTY
    assert read_owners(text) == ()


def test_letters_that_look_latin_are_read_so_in_latin_words_and_left_alone_in_others() -> None:
    plain, painted = "Zhangbei Manjing Wind Farm", "Zh\u0430ngb\u0435i M\u0430nj\u0456ng Wind F\u0430rm"
    assert read_name(painted) == read_name(plain)
    assert read_owners(painted) == read_owners(plain)
    assert read_name("\u0420\u043e\u0441\u0442\u043e\u0432 wind").words == ("\u0440\u043e\u0441\u0442\u043e\u0432",)


def test_chinese_becomes_pinyin() -> None:
    name = read_name("齐热哈塔尔水电站")
    assert "".join(name.words) == "qirehataer"
    assert name.technologies == {"hydro"}


@pytest.mark.parametrize(
    ("text", "sounds"),
    [("成都水电站", "chengdu"), ("长潭水电站", "changtan"), ("藏木水电站", "zangmu"), ("池州市风电场", "chizhou"),
     ("易县风电场", "yixian"), ("宿州市泗县风电场", "suzhousixian"), ("大丰县风电场", "dafeng"),
     ("恩施州风电场", "enshi"), ("Yi County Wind", "yixian"), ("Dafeng County Wind", "dafeng")],
)  # fmt: skip
def test_places_sound_as_they_are_called(text: str, sounds: str) -> None:
    assert "".join(read_name(text).words) == sounds


def test_traditional_characters_are_the_simplified_ones() -> None:
    assert read_name("冲乎尔水電站") == read_name("冲乎尔水电站")


@pytest.mark.parametrize(
    ("text", "designators"),
    [
        ("Golmud (Phase II) PV", {"2"}), ("Golmud Second Phase", {"2"}), ("大盈江一级水电站", {"1"}),
        ("Wutuhe Firstlevel", {"1"}), ("Xinhua 1B Wind Farm", {"1b"}), ("王庄二期风电场", {"2"}),
        ("Dun Law Extension", {"extension"}), ("Dun Law and Extension", set()),
        ("Dun Law - additional turbine", {"extension"}),
        ("Ovenden Moor (Repower)", {"repowering"}), ("Worksop - B&Q", set()), ("Foo A & B", {"b"}),
        ("Land South of 15 Lough Road", set()), ("Tangy Wind Farm", set()), ("Foo PA450", {"pa450"}),
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
    "text",
    [
        "GS3429 CER to VER conversion Foo Wind",
        "Foo Wind_preCDM VERs",
        "Foo Wind - CER Conversion",
        "Foo Wind (Re-submission)",
        "Foo Wind - CfD",
    ],
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
