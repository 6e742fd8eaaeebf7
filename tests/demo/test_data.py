"""The extracts: as many rows as the demo says, nothing of natural persons, and what is generated is always the same."""

import csv
from collections import Counter, defaultdict
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from soleclaim.demo import california
from soleclaim.demo.plants import (
    PROVINCES,
    SEASON,
    Months,
    ccer_project,
    ccer_reduction,
    gec_filing,
    gec_reading,
    load_plants,
)
from soleclaim.identity.schemes import fault_of

DATA = Path(california.__file__).parent / "data"


def test_two_hundred_plants_of_three_fuels() -> None:
    plants = load_plants()
    assert Counter(plant.fuel for plant in plants) == {"wind": 97, "hydro": 97, "solar": 6}
    for unique in ("cdm_ref", "filing_code", "project_code", "ccer_project_id", "name_in_ccer"):
        assert len({getattr(plant, unique) for plant in plants}) == len(plants)


def test_generated_identifiers_have_the_form_of_their_schemes() -> None:
    for plant in load_plants():
        assert fault_of("gec_filing_code", plant.filing_code) is None
        assert fault_of("cn_project_code", plant.project_code) is None
        assert fault_of("cdm", plant.cdm_ref) is None
        assert len(plant.ccer_project_id) == 19


def test_readings_are_plausible_and_the_same_on_every_run() -> None:
    year = Months(date(2025, 1, 1), 12)
    for plant in load_plants():
        hours = sum(plant.reading_kwh(month) for month in year) / 1000 / float(plant.capacity_mw)
        assert 1_000 < hours < 4_500, plant
    first = load_plants()[0]
    assert (first.reading_kwh(date(2025, 1, 1)), first.reduction_t(Months(date(2025, 8, 1), 2))) == (9_819_820, 6_070)


def test_seasons_sum_to_a_year() -> None:
    assert {sum(shares) for shares in SEASON.values()} == {1_200}


def test_native_records_carry_what_the_registries_want() -> None:
    for plant in load_plants():
        filing, project = gec_filing(plant), ccer_project(plant)
        assert filing["projectCode"] == project["projectCode"]
        assert filing["province"] == project["provinceName"] == PROVINCES[plant.province][0]
        assert gec_reading(plant, date(2025, 12, 1))["month"] == "2025-12"
        assert ccer_reduction(plant, Months(date(2025, 4, 1), 3))["endDate"] == "20250630"


def test_months_span_a_year_end() -> None:
    months = Months(date(2024, 11, 1), 3)
    assert [f"{month:%Y-%m}" for month in months] == ["2024-11", "2024-12", "2025-01"]
    assert months.last_day == date(2025, 1, 31)


def test_california_has_the_rows_the_state_published() -> None:
    table = california.load_table()
    assert len(table.issuances) == 1_868
    assert len({row.project_id for row in table.issuances}) == 610
    assert sum(table.skipped.values()) == 50


def test_batches_keep_the_order_of_dates_and_hold_no_project_twice() -> None:
    batches = list(california.batches(california.load_table().issuances))
    dates = [row.issuance_date for batch in batches for row in batch]
    assert len(dates) == 1_868
    assert dates == sorted(dates)
    assert all(len({row.project_id for row in batch}) == len(batch) for batch in batches)
    # Each cut was needed: some project of the later batch stands in the one before it.
    assert all({row.project_id for row in one} & {row.project_id for row in two} for one, two in pairwise(batches))


def test_plain_model_of_the_rule_gives_the_figures_that_act_5_must_show() -> None:
    """Identical period: supplement. Free: granted. Partial overlap with the own lock: refused."""
    locks: dict[str, list[tuple[date, date]]] = defaultdict(list)
    granted, supplements, refused = 0, 0, []
    for batch in california.batches(california.load_table().issuances):
        for row in batch:
            own, days = locks[row.project_id], (row.first_day, row.last_day)
            if days in own:
                supplements += 1
            elif any(first <= row.last_day and row.first_day <= last for first, last in own):
                refused.append(row.issuance_id)
            else:
                own.append(days)
                granted += 1
    assert (granted, supplements, sorted(refused)) == (1_827, 39, ["CALS5021-J", "CALS5041-B"])


def test_californian_days_are_inclusive_in_californian_time() -> None:
    row = next(row for row in california.load_table().issuances if row.issuance_id == "CAOD1007-A")
    # 26 September 2023 in summer time to the end of 26 January 2024 in winter time.
    assert str(row.period) == "2023-09-26T07:00:00Z/2024-01-27T08:00:00Z"


@pytest.mark.parametrize("folder", sorted(path.name for path in DATA.iterdir() if path.is_dir()))
def test_each_extract_says_where_it_comes_from_and_names_no_owner(folder: str) -> None:
    source = (DATA / folder / "SOURCE.txt").read_text(encoding="utf-8")
    assert all(word in source for word in ("Origin:", "Licence:", "Chosen:", "Changed:", "commit "))
    (table,) = (DATA / folder).glob("*.csv")
    with table.open(encoding="utf-8", newline="") as rows:
        columns = next(csv.reader(rows))
    assert not [name for name in columns if "owner" in name or "person" in name]
    assert table.stat().st_size < 200_000
