"""The report of the experiment: what came out by arm and seed, which differences are shown, and what it may be due to.

All sentences are chosen by figures: nothing here knows what is hoped for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.icl.drawings import curves, grid
from train.icl.experiment import copied
from train.icl.model import example_tokens
from train.icl.paired import CONFIDENCE, Comparison, compare, holm
from train.icl.pictures import PHOTOS
from train.icl.runs import ARMS, Arm, Run, Score
from train.icl.tasks import EXAMINED, HELD_OUT, NEW, TRAINED, Examined

NAMES: dict[Arm, str] = {
    "none": "no context",
    "causal": "context, plain causal mask",
    "xprompt": "context through X-Prompt tokens",
    "averages": "context through averages",
}
SETS: dict[Examined, str] = {
    "trained": "trained tasks",
    "parameters": "held-out tasks",
    "families": "held-out families",
}

_SIGNIFICANT = 0.05
_STILL_RISING_DB = 0.2
"""Gain over the last third of a training from which on it is called unfinished."""
_HELPS_DB = 0.3
"""Gain over no context from which on a family's tasks are called read off the example."""

_CAVEAT = """\
What this does not show: anything about 7 billion parameters that have been pretrained. It is a model of some hundred
thousand weights, from scratch, for minutes, on pictures of {pixels} pixels. The paper's Tab. 4, one run an arm (low
light / derain, dB): no context 9.14 / 7.92, context without X-Prompt 17.00 / 18.10, with it 17.22 / 18.91."""


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The runs of an arm with one S, by seed."""

    arm: Arm
    xp_tokens: int
    runs: dict[int, Run]

    @property
    def name(self) -> str:
        return NAMES[self.arm] + (f", S = {self.xp_tokens}" if self.xp_tokens else "")

    def psnr_db(self, examined: str) -> list[float]:
        return [run.scores[examined].psnr_db for run in self.runs.values()]


def write_report(folder: Path, runs: Sequence[Run]) -> None:
    """Write report.md, curves.svg and grid.png about runs of one experiment, at least one."""
    groups = _groups(runs)
    settings = runs[0].settings
    photos = {split: ", ".join(name for _, name in of) for split, of in PHOTOS.items()}
    length = example_tokens(settings)
    lines = [
        "# In-context learning in miniature: the paper's Tab. 4",
        "",
        f"A Chameleon of {settings.layers} layers and width {settings.width} is trained from scratch, "
        f"{settings.steps:,} steps of {settings.batch} examples, on tasks over real pictures: crops of "
        f"{settings.side} x {settings.side} pixels in 64 colours, a token each, from {photos['train']}. Examined is it "
        f"on crops from {photos['test']}, with one in-context example, which alone tells the task, over another crop; "
        "the answer is written token by token, each the likeliest after those written before. An example has "
        f"{length} tokens. Runs finished: {len(runs)}.",
        "",
        f"- {SETS['trained']}: of the families {', '.join(TRAINED)}",
        f"- {SETS['parameters']}: the {HELD_OUT:.0%} of each of these families that training never has",
        f"- {SETS['families']}: {', '.join(NEW)}, of which training has nothing",
        "",
        "## What came out",
        "",
        "PSNR is that of the mean squared error over all pictures of a set; exact is the share of tokens that are "
        "right. Mean and standard deviation over the seeds.",
        "",
        *_scores(groups),
        "",
        "PSNR (dB) of each seed, on held-out tasks / held-out families:",
        "",
        *_seeds(groups),
        "",
        "![Learning curves](curves.svg)",
        "",
        "PSNR on held-out tasks while training; the line is the mean over the seeds, the band their range.",
        "",
        "## Which differences are shown",
        "",
        *_comparisons(groups),
        "",
        "## What it may be due to",
        "",
        *_reasons(groups),
        "",
        "## By family",
        "",
        *_families(groups),
        "",
        "![Held-out tasks](grid.png)",
        "",
        "Held-out tasks, one a row: the example before and after, the query, the right answer, and what the arms' "
        "first seed says.",
        "",
        _CAVEAT.format(pixels=settings.side**2),
        "",
    ]
    (folder / "curves.svg").write_text(curves([(group.name, group.arm, [*group.runs.values()]) for group in groups]))
    grid([(group.arm, next(iter(group.runs.values()))) for group in groups]).save(folder / "grid.png", optimize=True)
    (folder / "report.md").write_text("\n".join(lines), "utf-8")


def _groups(runs: Sequence[Run]) -> list[_Group]:
    keys = sorted({(ARMS.index(run.arm), run.xp_tokens) for run in runs})
    ordered = sorted(runs, key=lambda run: run.seed)
    return [
        _Group(
            arm=ARMS[arm],
            xp_tokens=budget,
            runs={run.seed: run for run in ordered if (run.arm, run.xp_tokens) == (ARMS[arm], budget)},
        )
        for arm, budget in keys
    ]


def _scores(groups: Sequence[_Group]) -> Iterable[str]:
    head = [text for name in SETS.values() for text in (f"{name}, PSNR (dB)", "exact")]
    yield from _table(["arm", *head, "seeds", "CPU s a run"])
    settings = next(iter(groups[0].runs.values())).settings
    ignorant = [text for name in EXAMINED for text in _cells([copied(name, settings)])]
    yield _row(["the query, as it is", *ignorant, "", ""])
    for group in groups:
        cells = [text for name in EXAMINED for text in _cells([run.scores[name] for run in group.runs.values()])]
        seconds = np.mean([run.seconds for run in group.runs.values()])
        yield _row([group.name, *cells, str(len(group.runs)), f"{seconds:.0f}"])


def _seeds(groups: Sequence[_Group]) -> Iterable[str]:
    seeds = sorted({seed for group in groups for seed in group.runs})
    yield from _table(["arm", *(f"seed {seed}" for seed in seeds)])
    for group in groups:
        cells = [
            f"{run.scores['parameters'].psnr_db:.2f} / {run.scores['families'].psnr_db:.2f}" if run else "not yet"
            for run in (group.runs.get(seed) for seed in seeds)
        ]
        yield _row([group.name, *cells])


def _pairs(groups: Sequence[_Group]) -> list[tuple[_Group, _Group]]:
    """What is compared, decided before there were figures: context with none, X-Prompt with the other two contexts."""
    by_key = {(group.arm, group.xp_tokens): group for group in groups}
    budgets = sorted({group.xp_tokens for group in groups if group.xp_tokens})
    keys = [(("causal", 0), ("none", 0))]
    keys += [(("xprompt", budget), other) for other in (("none", 0), ("causal", 0)) for budget in budgets]
    keys += [(("xprompt", budget), ("averages", budget)) for budget in budgets]
    return [(by_key[first], by_key[second]) for first, second in keys if first in by_key and second in by_key]


def _comparisons(groups: Sequence[_Group]) -> Iterable[str]:
    yield (
        "Paired t-tests over the seeds (scipy.stats.ttest_rel): arms of one seed have the same first weights, training "
        "examples and examination. It assumes that the differences of the seeds are independent and normal, which so "
        "few cannot tell, and it speaks of further trainings, not of other photos or tasks. p is adjusted for all "
        f"lines of the table by Holm's method; a difference is shown if it is below {_SIGNIFICANT}."
    )
    found = [
        (f"{first.name} - {second.name}", examined, comparison)
        for first, second in _pairs(groups)
        for examined in EXAMINED[1:]
        if (comparison := _compared(first, second, lambda run, of=examined: run.scores[of].psnr_db))
    ]
    if not found:
        yield from ("", "No two arms have two seeds in common so far: nothing to compare.")
        return
    adjusted = holm([comparison.p for _, _, comparison in found])
    yield ""
    interval = f"{CONFIDENCE:.0%} interval"
    yield from _table(["difference in PSNR", "on", "mean (dB)", interval, "seeds above 0", "p", "p, Holm", "so"])
    for (name, examined, comparison), p in zip(found, adjusted, strict=True):
        yield _row(
            [
                name,
                SETS[examined],
                f"{comparison.mean:+.2f}",
                f"{comparison.low:+.2f} to {comparison.high:+.2f}",
                f"{comparison.wins} of {comparison.seeds}",
                f"{comparison.p:.3f}",
                f"{p:.3f}",
                _verdict(comparison, p),
            ]
        )


def _verdict(comparison: Comparison, p: float) -> str:
    if p >= _SIGNIFICANT:
        return "not shown"
    return "**better**" if comparison.mean > 0 else "**worse**"


def _compared(first: _Group, second: _Group, value: Callable[[Run], float]) -> Comparison | None:
    seeds = [seed for seed in first.runs if seed in second.runs]
    return compare(*([value(group.runs[seed]) for seed in seeds] for group in (first, second)))


def _reasons(groups: Sequence[_Group]) -> Iterable[str]:
    """What the figures say about length, budget, steps and generalisation."""
    by_key = {(group.arm, group.xp_tokens): group for group in groups}
    budgets = sorted({group.xp_tokens for group in groups if group.arm == "xprompt"})
    settings = next(iter(groups[0].runs.values())).settings
    length = example_tokens(settings)
    if len(budgets) > 1:
        small, large = by_key["xprompt", budgets[0]], by_key["xprompt", budgets[-1]]
        gain = _gap(large, small)
        says = "more X-Prompt tokens help" if gain > _HELPS_DB else "more X-Prompt tokens help little or not at all"
        if gain < -_HELPS_DB:
            says = "more X-Prompt tokens hurt"
        yield (
            f"- Budget: from S = {budgets[0]} to {budgets[-1]}, {budgets[0] / length:.0%} to "
            f"{budgets[-1] / length:.0%} of the example's {length} tokens, X-Prompt's PSNR on held-out tasks changes "
            f"by {gain:+.2f} dB: {says}" + (", and room is not what it lacks." if gain <= _HELPS_DB else ".")
        )
    for budget in budgets:
        if (averages := by_key.get(("averages", budget))) and (causal := by_key.get(("causal", 0))):
            learned, plain = _gap(by_key["xprompt", budget], causal), _gap(averages, causal)
            who = "averages, for which nothing is learned, keep more" if plain > learned else "X-Prompt keeps more"
            yield (
                f"- Compression, S = {budget}: against the whole example in sight, X-Prompt has {learned:+.2f} dB on "
                f"held-out tasks and averages {plain:+.2f}: {who}."
            )
    rising = {group.name: _last_third_db(group) for group in groups}
    unfinished = [f"{name} {gain:+.2f}" for name, gain in rising.items() if gain > _STILL_RISING_DB]
    yield (
        f"- Steps: over the last third of the {settings.steps:,} steps "
        + (
            f"these still gained more than {_STILL_RISING_DB} dB: {'; '.join(unfinished)}. Their order may "
            "change with more steps."
            if unfinished
            else f"no arm gained more than {_STILL_RISING_DB} dB: the falling learning rate may be why, or one of the "
            "plateaus that in-context learning has before it jumps."
        )
    )
    for group in groups:
        if group.arm != "none":
            lost = np.mean(group.psnr_db("trained")) - np.mean(group.psnr_db("parameters"))
            ignorant = copied("trained", settings).psnr_db - copied("parameters", settings).psnr_db
            yield (
                f"- Generalisation, {group.name}: {lost:.2f} dB less on held-out tasks than on trained ones, where the "
                f"query as it is has {ignorant:.2f} less."
            )
    if none := by_key.get(("none", 0)):
        yield from (_read_off(group, none) for group in groups if group.arm != "none")


def _read_off(group: _Group, none: _Group) -> str:
    """Which families' tasks the example has told: those that are better than without one by enough, in every seed."""
    told, untold = [], []
    for examined, names in (("parameters", TRAINED), ("families", NEW)):
        for name in names:
            gains = [
                run.families[examined][name].psnr_db - none.runs[seed].families[examined][name].psnr_db
                for seed, run in group.runs.items()
                if seed in none.runs
            ]
            if gains:
                is_told = np.mean(gains) > _HELPS_DB and min(gains) > 0
                (told if is_told else untold).append(f"{name} {np.mean(gains):+.1f}")
    return (
        f"- What is read off the example, {group.name}, dB above no context, more than {_HELPS_DB} and in every seed: "
        f"{', '.join(told) or 'nothing'}; not: {', '.join(untold) or 'nothing'}."
    )


def _gap(first: _Group, second: _Group) -> float:
    """Mean difference in PSNR on held-out tasks."""
    return float(np.mean(first.psnr_db("parameters")) - np.mean(second.psnr_db("parameters")))


def _last_third_db(group: _Group) -> float:
    curves = np.array([[psnr for _, _, psnr in run.curve] for run in group.runs.values()]).mean(0)
    return float(curves[-1] - curves[len(curves) * 2 // 3 - 1]) if len(curves) > 2 else 0.0


def _families(groups: Sequence[_Group]) -> Iterable[str]:
    names = [("parameters", name) for name in TRAINED] + [("families", name) for name in NEW]
    yield "PSNR (dB), mean over the seeds; the first five are held-out tasks of trained families."
    yield ""
    yield from _table(["arm", *(name for _, name in names)])
    for group in groups:
        means = [
            np.mean([run.families[examined][name].psnr_db for run in group.runs.values()]) for examined, name in names
        ]
        yield _row([group.name, *(f"{mean:.1f}" for mean in means)])


def _cells(scores: Sequence[Score]) -> tuple[str, str]:
    """PSNR and exact tokens, with their spread if there is more than one seed."""
    return _spread([score.psnr_db for score in scores], 2), _spread([score.right for score in scores], 3)


def _spread(values: Sequence[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def _table(head: Sequence[str]) -> tuple[str, str]:
    return _row(head), "|" + "---|" * len(head)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
