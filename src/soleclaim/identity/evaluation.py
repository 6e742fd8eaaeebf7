"""How good decisions are, against labelled pairs: figures with confidence intervals, and pictures.

An unlabelled pair counts as false when one of its records is labelled the same as another one, and else not at all:
labels of real lists are never complete.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from soleclaim.identity.matching import Decision

CONFIDENCE_Z: Final = 1.96
"""Of a 95 % interval."""
BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Share:
    """``hits`` of ``of``, with the 95 % Wilson interval."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; ``None`` of nothing."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval."""
        if not self.of:
            return None
        share, z2 = self.hits / self.of, CONFIDENCE_Z**2
        middle = share + z2 / (2 * self.of)
        spread = CONFIDENCE_Z * math.sqrt(share * (1 - share) / self.of + z2 / (4 * self.of**2))
        whole = 1 + z2 / self.of
        return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``recall``: pairs labelled same that were decided so; ``recall_with_review``: or given to a person.

    ``review``: records of the left list that a person has to look at.
    """

    precision: Share
    recall: Share
    recall_with_review: Share
    review: Share
    false_merges: Share
    not_judged: int
    """Pairs decided the same of which no label speaks."""
    strangers: int
    """Labels that name a record which its list does not have; they count nowhere else."""

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        precision, recall = self.precision.value, self.recall.value
        return 2 * precision * recall / (precision + recall) if precision and recall else None

    def as_document(self) -> dict[str, Any]:
        """For JSON."""
        shares = {
            name: {**asdict(share), "value": share.value, "interval": share.interval}
            for name, share in (
                ("precision", self.precision), ("recall", self.recall), ("recall_with_review", self.recall_with_review),
                ("review_rate", self.review), ("false_merges", self.false_merges),
            )
        }  # fmt: skip
        return {**shares, "f1": self.f1, "not_judged": self.not_judged, "labels_of_unknown_records": self.strangers}


def evaluate(
    decisions: Sequence[Decision],
    labels: Mapping[tuple[str, str], str],
    *,
    left_ids: Collection[str],
    right_ids: Collection[str],
) -> Evaluation:
    """Compare decisions with labels."""
    lefts, rights, told = frozenset(left_ids), frozenset(right_ids), len(labels)
    labels = {pair: label for pair, label in labels.items() if pair[0] in lefts and pair[1] in rights}
    truth = {pair for pair, label in labels.items() if label == "same"}
    judged = {each: _verdict(each, labels, truth) for each in decisions}
    merged = [each for each in decisions if each.decision == "same"]
    right = sum(judged[each] is True for each in merged)
    wrong = sum(judged[each] is False for each in merged)
    seen = {(each.left_id, each.right_id) for each in decisions}
    decided = {(each.left_id, each.right_id) for each in merged}
    return Evaluation(
        precision=Share(right, right + wrong),
        recall=Share(len(truth & decided), len(truth)),
        recall_with_review=Share(len(truth & seen), len(truth)),
        review=Share(len({each.left_id for each in decisions if each.decision == "review"}), len(left_ids)),
        false_merges=Share(wrong, len(merged)),
        not_judged=len(merged) - right - wrong,
        strangers=told - len(labels),
    )


def _verdict(decision: Decision, labels: Mapping[tuple[str, str], str], truth: set[tuple[str, str]]) -> bool | None:
    label = labels.get((decision.left_id, decision.right_id))
    if label is not None:
        return None if label == "unclear" else label == "same"
    partnered = any(left == decision.left_id or right == decision.right_id for left, right in truth)
    return False if partnered else None


def draw(path: Path, decisions: Sequence[Decision], labels: Mapping[tuple[str, str], str]) -> None:
    """Two pictures in one file: precision against recall over all thresholds, and calibration. PNG, SVG or PDF."""
    from matplotlib.figure import Figure  # noqa: PLC0415  of the extra `pictures`

    truth = {pair for pair, label in labels.items() if label == "same"}
    judged = [
        (each.probability, verdict)
        for each in decisions
        if each.right_id and (verdict := _verdict(each, labels, truth)) is not None
    ]
    judged.sort(key=lambda each: -each[0])
    figure = Figure(figsize=(9, 4), layout="constrained")
    curve, calibration = figure.subplots(1, 2)
    hits = 0
    recall, precision = [], []
    for number, (_, verdict) in enumerate(judged, start=1):
        hits += verdict
        recall.append(hits / max(1, len(truth)))
        precision.append(hits / number)
    curve.plot(recall, precision)
    curve.set(xlabel="recall", ylabel="precision", title="Precision against recall", xlim=(0, 1.01), ylim=(0, 1.01))
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for likely, verdict in judged:
        bins[min(BINS - 1, int(likely * BINS))].append((likely, verdict))
    filled = [each for each in bins if each]
    calibration.plot([0, 1], [0, 1], linestyle=":")
    calibration.plot(
        [sum(likely for likely, _ in each) / len(each) for each in filled],
        [sum(verdict for _, verdict in each) / len(each) for each in filled],
        marker="o",
    )
    calibration.set(xlabel="probability given", ylabel="share that is the same", title="Calibration")
    figure.savefig(path)
