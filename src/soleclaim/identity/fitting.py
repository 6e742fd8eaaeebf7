"""Learning the weights of ``scoring`` from labelled lists. Needs scikit-learn (extra ``fit``); the lookup does not.

Two logistic regressions, as ``scoring`` uses them. Half of every list is kept apart by the hash of the left id, so that
figures can be given on records that nothing was learnt from: ``is_kept_apart``.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soleclaim.identity.blocking import Index
from soleclaim.identity.matching import Pair, compare_profiles
from soleclaim.identity.record import Description, read_profile
from soleclaim.identity.scoring import HOPELESS, lead, levels


@dataclass(frozen=True, slots=True)
class Labelled:
    """Two lists and what is known of their pairs: same, different or unclear; unlabelled pairs are different."""

    left: Sequence[Description]
    right: Sequence[Description]
    labels: Mapping[tuple[str, str], str]


def is_kept_apart(left_id: str) -> bool:
    """Whether nothing may be learnt from a record of the left list."""
    return bool(hashlib.sha256(left_id.encode()).digest()[0] % 2)


def fit(sets: Sequence[Labelled]) -> dict[str, Any]:
    """The content of ``data/weights.json``, from the records that are not kept apart."""
    from sklearn.feature_extraction import DictVectorizer  # noqa: PLC0415  an extra
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    compared = [[(pair, label) for pair, label in _compare(each) if label != "unclear"] for each in sets]
    pairs = [each for one in compared for each in one]
    vectors = DictVectorizer(separator="=")
    features = vectors.fit_transform([levels(pair.likeness) for pair, _ in pairs])
    first = LogisticRegression(C=0.3, max_iter=5000).fit(features, [label == "same" for _, label in pairs])
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for name, weight in zip(vectors.get_feature_names_out(), first.coef_[0], strict=True):
        feature, level = name.split("=", 1)
        table[feature][level] = round(float(weight), 3)
    rows: list[list[float]] = []
    truths: list[bool] = []
    for one in compared:
        own = first.decision_function(vectors.transform([levels(pair.likeness) for pair, _ in one]))
        for (pair, label), value, (left, right) in zip(one, own, _leads(one, own), strict=True):
            if value >= HOPELESS and pair.obstacle is None:
                least = min(left, right)
                rows.append([value, left, right, least, max(least, 0.0), min(least, 0.0)])
                truths.append(label == "same")
    second = LogisticRegression(C=1.0, max_iter=5000).fit(rows, truths)
    names = ("own", "left", "right", "least", "ahead", "behind")
    rivals = {name: round(float(weight), 4) for name, weight in zip(names, second.coef_[0], strict=True)}
    rivals["base"] = round(float(second.intercept_[0]), 4)
    return {"base": round(float(first.intercept_[0]), 3), "levels": dict(table), "rivals": rivals}


def _compare(one: Labelled) -> list[tuple[Pair, str]]:
    index = Index(read_profile(each) for each in one.right)
    found = []
    for place, described in enumerate(one.left):
        if is_kept_apart(described.id):
            continue
        profile = read_profile(described)
        for candidate in index.candidates(profile).holders:
            pair = compare_profiles(place, profile, candidate, index.profiles[candidate])
            found.append((pair, one.labels.get((described.id, one.right[candidate].id), "different")))
    return found


def _leads(pairs: Sequence[tuple[Pair, str]], own: Sequence[float]) -> list[tuple[float, float]]:
    left: defaultdict[int, list[float]] = defaultdict(list)
    right: defaultdict[int, list[float]] = defaultdict(list)
    for (pair, _), value in zip(pairs, own, strict=True):
        left[pair.left].append(value)
        right[pair.right].append(value)

    def of(values: list[float], value: float) -> float:
        others = sorted(values)
        others.remove(value)
        return lead(value, others[-1] if others else None)

    return [
        (of(left[pair.left], value), of(right[pair.right], value)) for (pair, _), value in zip(pairs, own, strict=True)
    ]
