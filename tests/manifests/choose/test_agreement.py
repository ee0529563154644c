"""Kappas against scikit-learn and Fleiss' own example, and who is compared with whom."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from manifests.choose.agreement import BadGate, Gate, agreement, cohen, compared, fleiss
from manifests.choose.decisions import Standing
from manifests.read.query import connect
from tests.manifests.make import make_dataset
from tests.manifests.verify.damage import edit


def test_cohens_kappa_is_that_of_scikit_learn() -> None:
    draw = random.Random(0)
    for share in (0.1, 0.5, 0.95):
        one = {str(number): draw.random() < share for number in range(200)}
        other = {pair: said if draw.random() < 0.7 else not said for pair, said in one.items() if draw.random() < 0.9}
        both = [(one[pair], other[pair]) for pair in other]
        found = compared("Ada", "Bo", one, other)
        table = confusion_matrix(*zip(*both, strict=True), labels=[True, False]).tolist()
        assert [[found.both_keep, found.first_keeps], [found.second_keeps, found.both_drop]] == table
        assert found.kappa == pytest.approx(cohen_kappa_score(*zip(*both, strict=True)), abs=1e-12)
    assert cohen([[3, 0], [0, 0]]) is None and cohen([[0, 0], [0, 0]]) is None
    assert cohen([[0, 2], [2, 0]]) == -1


FLEISS = """0 0 0 0 14/0 2 6 4 2/0 0 3 5 6/0 3 9 2 0/2 2 8 1 1/7 7 0 0 0/3 2 6 3 0/2 5 3 2 2/6 5 2 1 0/0 2 2 3 7"""


def test_fleiss_kappa_of_a_published_table() -> None:
    """Fourteen raters, ten subjects, five categories: the worked example of most textbooks, kappa 0.210."""
    table = [[int(count) for count in row.split()] for row in FLEISS.split("/")]
    assert fleiss(table) == pytest.approx(0.20993, abs=5e-6)
    assert fleiss([]) is None and fleiss([[3, 0], [3, 0]]) is None and fleiss([[3, 0], [0, 3]]) == 1


def test_who_is_compared_with_whom(tmp_path: Path) -> None:
    dataset = make_dataset(f"{tmp_path}/derain", units=1, pairs=4)
    keys = [pair.key for pair in dataset.pairs()]  # of scores 0, 0.1, 0.2 and 0.3
    said = {"Ada": "keep drop fix flag", "Bo": "keep keep keep drop", "Cy": "drop drop keep keep"}
    standing: dict[str, dict[str, Standing]] = {"f" * 32: {"Ada": Standing(decision="keep", time="")}}
    for name, decisions in said.items():
        for key, decision in zip(keys, decisions.split(), strict=True):
            standing.setdefault(key, {})[name] = Standing(decision=decision, time="")
    pool = connect(dataset.url)
    found = agreement(standing, pool, [Gate.of("mean_abs_diff>=0.15")])
    assert found.reviewers["Ada"] == {"drop": 1, "fix": 1, "flag": 1, "keep": 1}  # of the dataset's pairs alone
    two = {(one.first, one.second): one for one in found.two}
    assert [*two][:3] == [("Ada", "Bo"), ("Ada", "Cy"), ("Bo", "Cy")]
    gate = two["Bo", "gate mean_abs_diff >= 0.15"]
    assert (gate.both_keep, gate.first_keeps, gate.second_keeps, gate.both_drop) == (1, 2, 1, 0)
    assert gate.kappa == pytest.approx((1 / 4 - (3 * 2 + 1 * 2) / 16) / (1 - 8 / 16))
    assert found.all_pairs == 3  # each keeps or drops those: 2 of 3, 1 of 3 and 3 of 3 keep
    observed, chance = (1 / 3 + 1 / 3 + 1) / 3, (6 / 9) ** 2 + (3 / 9) ** 2
    assert found.fleiss == pytest.approx((observed - chance) / (1 - chance))
    with pytest.raises(BadGate, match="no pair that was decided has the score ssim"):
        agreement(standing, pool, [Gate.of("ssim<=0.5")])
    for text in ("ssim", "ssim>0.5", "ssim>=x", "ssim>=nan", ">=1"):
        with pytest.raises(BadGate, match="is no bound on a score"):
            Gate.of(text)


def test_a_score_of_noughts_and_ones_is_a_judges_verdict(tmp_path: Path) -> None:
    """The first pair's score is 0; a dataset of it and of pairs whose score is 1 is one that a judge has seen."""
    dataset = make_dataset(f"{tmp_path}/derain", units=1, pairs=2)
    verdicts = {pair.key: float(number) for number, pair in enumerate(dataset.pairs())}
    edit(
        tmp_path / "derain/manifest/derain-000000.parquet",
        lambda rows: [row.update(scores=[("same_style", verdicts[row["pair"]]), ("ssim", 0.5)]) for row in rows],
    )
    standing = {
        pair: {"Ada": Standing(decision="keep" if score else "drop", time="")} for pair, score in verdicts.items()
    }
    (two,) = agreement(standing, connect(dataset.url)).two
    assert (two.second, two.both_keep, two.both_drop, two.kappa) == ("judge same_style", 1, 1, 1)
