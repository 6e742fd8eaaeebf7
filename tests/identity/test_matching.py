"""Decisions on real labelled lists, on the half of the records that no weight was learnt from."""

import dataclasses
import json
import random
from functools import cache
from importlib import resources
from pathlib import Path

import pytest

from soleclaim.identity.evaluation import Evaluation, evaluate
from soleclaim.identity.fitting import Labelled, fit, is_kept_apart
from soleclaim.identity.lists import read_labels, read_list
from soleclaim.identity.matching import Decision, match
from soleclaim.identity.record import Description

DATA = Path(__file__).parent / "data"


@cache
def labelled(name: str) -> Labelled:
    folder = DATA / name
    return Labelled(
        read_list(folder / "left.csv").rows, read_list(folder / "right.csv").rows, read_labels(folder / "labels.csv")
    )


def without_places(one: Labelled, *, right: bool = True) -> Labelled:
    def bare(rows: list[Description]) -> list[Description]:
        return [dataclasses.replace(each, latitude=None, longitude=None) for each in rows]

    return Labelled(bare(list(one.left)), bare(list(one.right)) if right else one.right, one.labels)


def on_the_half_kept_apart(one: Labelled) -> Evaluation:
    decisions = [each for each in match(one.left, one.right) if is_kept_apart(each.left_id)]
    labels = {pair: label for pair, label in one.labels.items() if is_kept_apart(pair[0])}
    return evaluate(decisions, labels, [each.id for each in one.left if is_kept_apart(each.id)])


def test_the_weights_are_what_fitting_gives() -> None:
    sets = [labelled(name) for name in ("wri_cdm", "cdm_gem", "lookalikes", "dukes_repd")]
    wri, gem, lookalikes, british = sets
    fitted = fit([wri, without_places(wri), gem, lookalikes, without_places(lookalikes), british,
                  without_places(british, right=False)])  # fmt: skip
    kept = json.loads(resources.files("soleclaim.identity").joinpath("data/weights.json").read_text(encoding="utf-8"))
    assert fitted["rivals"] == pytest.approx(kept["rivals"], abs=0.02)
    assert set(fitted["levels"]) == set(kept["levels"])
    for feature, table in fitted["levels"].items():
        assert table == pytest.approx(kept["levels"][feature], abs=0.02), feature


@pytest.mark.parametrize(
    ("name", "precision", "recall", "with_review"),
    [("wri_cdm", 0.999, 0.99, 0.999), ("cdm_gem", 0.99, 0.90, 0.95), ("dukes_repd", 0.98, 0.93, 0.98)],
)
def test_real_lists_are_joined(name: str, precision: float, recall: float, with_review: float) -> None:
    found = on_the_half_kept_apart(labelled(name))
    assert (found.precision.value or 0) >= precision
    assert (found.recall.value or 0) >= recall
    assert (found.recall_with_review.value or 0) >= with_review


def test_names_and_capacity_alone_are_enough_for_most() -> None:
    found = on_the_half_kept_apart(without_places(labelled("wri_cdm")))
    assert (found.precision.value or 0) >= 0.98
    assert (found.recall.value or 0) >= 0.95


def test_no_lookalikes_are_joined() -> None:
    one = labelled("lookalikes")
    joined = {(each.left_id, each.right_id) for each in match(one.left, one.right) if each.decision == "same"}
    assert len(joined) > 50, "records that stand in both lists are joined"
    assert not joined & {pair for pair, label in one.labels.items() if label == "different"}


def test_the_order_of_the_lists_does_not_matter() -> None:
    one = labelled("dukes_repd")
    left, right = list(one.left), list(one.right)
    first = _as_set(match(left, right))
    random.Random(7).shuffle(left)
    random.Random(8).shuffle(right)
    assert _as_set(match(left, right)) == first


def _as_set(decisions: list[Decision]) -> set[tuple[str, str, str]]:
    return {(each.left_id, each.right_id, each.decision) for each in decisions}


def plant(number: int, name: str, **more: object) -> Description:
    return dataclasses.replace(Description(id=str(number), name=name, country="China"), **more)  # type: ignore[arg-type]  # fields by name


def decided(left: Description, *right: Description) -> list[tuple[str, str]]:
    return [(each.right_id, each.decision) for each in match([left], right)]


def test_phases_of_one_farm_are_never_joined() -> None:
    first = plant(1, "Huaneng Tongyu Xinhua 1B Wind Farm", capacity_mw=49.5, latitude=44.8, longitude=123.1)
    second = plant(2, "Huaneng Tongyu Xinhua 1E Wind Farm", capacity_mw=49.5, latitude=44.8, longitude=123.1)
    assert ("2", "same") not in decided(first, second)


def test_a_shared_strong_identifier_joins_and_a_contradicting_one_never_does() -> None:
    one = plant(1, "Anything Wind", capacity_mw=10.0, identifiers=(("gec_filing_code", "FDWD2407150000123"),))
    same = plant(2, "Anything Wind Farm", capacity_mw=10.0, identifiers=(("gec_filing_code", "FDWD2407150000123"),))
    other = plant(3, "Anything Wind Farm", capacity_mw=10.0, identifiers=(("gec_filing_code", "FDWD2407150000999"),))
    assert decided(one, same) == [("2", "same")]
    assert ("3", "same") not in decided(one, other)


def test_of_two_equal_candidates_none_is_joined() -> None:
    one = plant(1, "Gansu Qilinsi Hydropower", capacity_mw=111.0)
    twins = plant(2, "麒麟寺水电站", capacity_mw=111.0), plant(3, "麒麟寺水电站", capacity_mw=111.0)
    assert decided(one, twins[0]) == [("2", "same")]
    assert sorted(decided(one, *twins)) == [("2", "review"), ("3", "review")]


def test_short_names_find_each_other() -> None:
    one = plant(1, "Foo Wind 49.5MW", latitude=42.8, longitude=124.0)
    assert decided(one, plant(2, "Foo Wind Farm", capacity_mw=49.5, latitude=42.8, longitude=124.0)) == [("2", "same")]
    assert decided(plant(1, "Foo Wind 49.5MW"), plant(2, "Foo Wind Farm", capacity_mw=49.5)) != []


def test_every_decision_gives_its_reasons() -> None:
    (decision,) = match([plant(1, "Gansu Qilinsi Hydropower", capacity_mw=111.0)],
                        [plant(2, "麒麟寺水电站", capacity_mw=111.0)])  # fmt: skip
    assert any(reason.startswith("name ") for reason in decision.reasons)
    assert any(reason.startswith("capacity equal") for reason in decision.reasons)
