"""The report of the experiment: what came out by arm and seed, which differences are shown, and what it may be due to.

All sentences are chosen by figures: nothing here knows what is hoped for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.icl.averages import bins
from train.icl.drawings import curves, grid
from train.icl.experiment import copied
from train.icl.model import example_tokens
from train.icl.paired import CONFIDENCE, Comparison, compare, holm
from train.icl.pictures import COLOURS, PHOTOS
from train.icl.runs import ARMS, BASE, Arm, Run, Score
from train.icl.tasks import EXAMINED, HELD_OUT, NEW, TRAINED, Examined

NAMES: dict[Arm, str] = {
    "base": "the base, which sees the whole example",
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
_UNFINISHED_NATS = 0.05
"""Fall of the training loss over the last third of the steps from which on a training is called unfinished."""
_MATTERS = 0.03
"""Share of the tokens from which on a difference is spoken of as one."""
_MOSTLY = 0.5
"""Share of the answers from which on they are called mostly so."""
_Measure = Callable[[Score], float]
_MEASURES: dict[str, tuple[_Measure, str]] = {
    "PSNR (dB)": (lambda score: score.psnr_db, "+.2f"),
    "exact tokens": (lambda score: score.right, "+.3f"),
}

_CAVEAT = """\
What this does not show: anything about 7 billion parameters that have been pretrained on the world. It is a model of a
hundred thousand weights or some millions, trained for minutes, on pictures of {pixels} pixels. The paper's Tab. 4, one
run an arm (low light / derain, dB): no context 9.14 / 7.92, context without X-Prompt 17.00 / 18.10, with it 17.22 /
18.91."""


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The runs of an arm with one S, by seed."""

    arm: Arm
    xp_tokens: int
    runs: dict[int, Run]

    @property
    def name(self) -> str:
        return NAMES[self.arm] + (f", S = {self.xp_tokens}" if self.xp_tokens else "")

    def mean(self, examined: Examined, measure: _Measure) -> float:
        """Over the seeds."""
        return float(np.mean([measure(run.scores[examined]) for run in self.runs.values()]))


def write_report(folder: Path, runs: Sequence[Run]) -> None:
    """Write report.md, curves.svg and grid.png about runs of one experiment, at least one of an arm among them."""
    with_bases = _groups(runs)
    groups = [group for group in with_bases if group.arm != BASE]
    settings = runs[0].settings
    photos = {split: ", ".join(name for _, name in of) for split, of in PHOTOS.items()}
    length = example_tokens(settings)
    bases = sum(run.arm == BASE for run in runs)
    lines = [
        "# In-context learning in miniature: the paper's Tab. 4",
        "",
        f"A Chameleon of {settings.layers} layers and width {settings.width} is trained on tasks over real pictures"
        + (
            f", for each seed {settings.base_steps:,} steps of {settings.batch} examples from scratch with the whole "
            "in-context example in sight: the base. From it, as the paper's arms from one Chameleon, each arm is "
            f"trained {settings.steps:,} steps more in its own way."
            if settings.base_steps
            else f", each arm for {settings.steps:,} steps of {settings.batch} examples from scratch."
        )
        + f" The pictures are crops of {settings.side} x {settings.side} "
        f"pixels in {COLOURS} colours, a token each, from {photos['train']}. Examined is it "
        f"on crops from {photos['test']}, with one in-context example, which alone tells the task, over another crop; "
        "the answer is written token by token, each the likeliest after those written before. An example has "
        f"{length} tokens. Runs finished: {len(runs) - bases}{f' and {bases} bases' if bases else ''}, "
        f"{sum(run.seconds for run in runs) / 60:.0f} CPU minutes in all.",
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
        *_scores(with_bases),
        "",
        "PSNR (dB) and share of exact tokens of each seed, on held-out tasks:",
        "",
        *_seeds(groups),
        "",
        "![Learning curves](curves.svg)",
        "",
        "Exact tokens of some held-out tasks while the arms are trained; the line is the seeds' mean, the band their "
        "range.",
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
    arms = (BASE, *ARMS)
    keys = sorted({(arms.index(run.arm), run.xp_tokens) for run in runs})
    ordered = sorted(runs, key=lambda run: run.seed)
    return [
        _Group(
            arm=arms[arm],
            xp_tokens=budget,
            runs={run.seed: run for run in ordered if (run.arm, run.xp_tokens) == (arms[arm], budget)},
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
            f"{run.scores['parameters'].psnr_db:.2f}, {run.scores['parameters'].right:.3f}" if run else "not yet"
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
        f"lines of its table by Holm's method; a difference is shown if it is below {_SIGNIFICANT}."
    )
    for name, (measure, form) in _MEASURES.items():
        yield ""
        yield from _compared(groups, name, measure, form)


def _compared(groups: Sequence[_Group], name: str, measure: _Measure, form: str) -> Iterable[str]:
    """A table of the comparisons by one measure."""
    found = []
    for first, second in _pairs(groups):
        seeds = [seed for seed in first.runs if seed in second.runs]
        for examined in EXAMINED[1:]:
            values = [[measure(group.runs[seed].scores[examined]) for seed in seeds] for group in (first, second)]
            if comparison := compare(*values):
                found.append((f"{first.name} - {second.name}", examined, comparison))
    if not found:
        yield f"{name}: no two arms have two seeds in common so far, nothing to compare."
        return
    yield from _table([name, "on", "mean", f"{CONFIDENCE:.0%} interval", "seeds above 0", "p", "p, Holm", "so"])
    adjusted = holm([comparison.p for _, _, comparison in found])
    for (pair, examined, comparison), p in zip(found, adjusted, strict=True):
        yield _row(
            [
                pair,
                SETS[examined],
                f"{comparison.mean:{form}}",
                f"{comparison.low:{form}} to {comparison.high:{form}}",
                f"{comparison.wins} of {comparison.seeds}",
                f"{comparison.p:.4f}",
                f"{p:.3f}",
                _verdict(comparison, p),
            ]
        )


def _verdict(comparison: Comparison, p: float) -> str:
    if p >= _SIGNIFICANT:
        return "not shown"
    return "**better**" if comparison.mean > 0 else "**worse**"


def _reasons(groups: Sequence[_Group]) -> Iterable[str]:
    """What the figures say about length, budget, steps and generalisation."""
    by_key = {(group.arm, group.xp_tokens): group for group in groups}
    budgets = sorted({group.xp_tokens for group in groups if group.arm == "xprompt"})
    settings = next(iter(groups[0].runs.values())).settings
    length = example_tokens(settings)
    best = max(groups, key=lambda group: group.mean("parameters", _right))
    ignorant = copied("parameters", settings)
    psnr_db = max(group.mean("parameters", lambda score: score.psnr_db) for group in groups)
    yield (
        f"- Difficulty: the best arm on held-out tasks, {best.name}, has {best.mean('parameters', _right):.3f} of the "
        f"tokens exact, the query as it is {ignorant.right:.3f}; the best PSNR is {psnr_db:.2f} dB, that of the query "
        f"{ignorant.psnr_db:.2f}"
        + (
            ". Where an arm errs its pixels are far off, and doing nothing has the better PSNR: exact tokens tell more."
            if psnr_db < ignorant.psnr_db
            else "."
        )
    )
    alike = {group.name: _one_colour(group) for group in groups}
    yield (
        "- Answers of a single colour, among the pictures of held-out tasks that each run keeps: "
        + "; ".join(f"{name} {share:.0%}" for name, share in alike.items())
        + f". Of the right answers {_one_colour(groups[0], 3):.0%} are."
        + (
            f" An arm above {_MOSTLY:.0%} has read at most which colours to answer with, and does not yet look at the "
            "query pixel by pixel."
            if max(alike.values()) > _MOSTLY
            else ""
        )
    )
    if len(budgets) > 1:
        small, large = by_key["xprompt", budgets[0]], by_key["xprompt", budgets[-1]]
        gain = large.mean("parameters", _right) - small.mean("parameters", _right)
        says = "room is not what it lacks"
        if abs(gain) > _MATTERS:
            says = "more X-Prompt tokens help" if gain > 0 else "more X-Prompt tokens hurt"
        yield (
            f"- Budget: from S = {budgets[0]} to {budgets[-1]}, {budgets[0] / length:.0%} to "
            f"{budgets[-1] / length:.0%} of the example's {length} tokens, X-Prompt's exact tokens on held-out tasks "
            f"change by {gain:+.3f}: {says}."
        )
    for budget in budgets:
        if (averages := by_key.get(("averages", budget))) and (causal := by_key.get(("causal", 0))):
            learned, plain = (
                group.mean("parameters", _right) - causal.mean("parameters", _right)
                for group in (by_key["xprompt", budget], averages)
            )
            whole = bool((bins(budget, length) == 1).any(0).all())
            who = "the two keep about the same"
            if abs(learned - plain) > _MATTERS:
                who = "averages, for which nothing is learned, keep more" if plain > learned else "X-Prompt keeps more"
            yield (
                f"- Compression, S = {budget}: against the whole example in sight, X-Prompt has {learned:+.3f} of the "
                f"tokens exact on held-out tasks and averages {plain:+.3f}: {who}."
                + (" Among so many averages each token has one of its own: they leave out nothing." if whole else "")
            )
    if settings.base_steps:
        yield (
            f"- Base: its {settings.base_steps:,} steps are with the example in plain sight. The causal arm goes on "
            f"with that, the others have {settings.steps:,} steps to learn another way. With a base that was trained "
            "otherwise, or with none (`--base-steps 0`), their order may be another."
        )
    falls = {group.name: _last_third_nats(group) for group in groups}
    unfinished = [f"{name} {fall:.2f}" for name, fall in falls.items() if fall > _UNFINISHED_NATS]
    yield (
        f"- Steps: over the last third of the {settings.steps:,} steps "
        + (
            f"the training loss of these still fell by more than {_UNFINISHED_NATS} nats a token: "
            f"{'; '.join(unfinished)}. Their order may change with more steps."
            if unfinished
            else f"no arm's training loss fell by more than {_UNFINISHED_NATS} nats a token: the falling learning rate "
            "may be why, or one of the plateaus that in-context learning has before it jumps."
        )
    )
    for group in groups:
        if group.arm != "none":
            trained, held_out = (group.mean(name, _right) for name in EXAMINED[:2])
            yield (
                f"- Generalisation, {group.name}: {trained:.3f} of the tokens exact on trained tasks, {held_out:.3f} "
                "on held-out ones."
            )
    if none := by_key.get(("none", 0)):
        yield from (_read_off(group, none) for group in groups if group.arm != "none")


def _one_colour(group: _Group, row: int = 4) -> float:
    """Share of pictures of one colour, in a row of `Run.pictures`, by default what the model said."""
    return float(np.mean([len({*codes}) == 1 for run in group.runs.values() for codes in run.pictures[row]]))


def _right(score: Score) -> float:
    return score.right


def _read_off(group: _Group, none: _Group) -> str:
    """Which families' tasks the example has told: those that are better than without one by enough, in every seed."""
    told: list[str] = []
    untold: list[str] = []
    for examined, names in (("parameters", TRAINED), ("families", NEW)):
        for name in names:
            gains = [
                run.families[examined][name].right - none.runs[seed].families[examined][name].right
                for seed, run in group.runs.items()
                if seed in none.runs
            ]
            if gains:
                is_told = np.mean(gains) > _MATTERS and min(gains) > 0
                (told if is_told else untold).append(f"{name} {np.mean(gains):+.2f}")
    return (
        f"- What is read off the example, {group.name}, exact tokens above no context, more than {_MATTERS} and in "
        f"every seed: {', '.join(told) or 'nothing'}; not: {', '.join(untold) or 'nothing'}."
    )


def _last_third_nats(group: _Group) -> float:
    losses = np.array([[loss for _, loss, _ in run.curve] for run in group.runs.values()]).mean(0)
    return float(losses[len(losses) * 2 // 3 - 1] - losses[-1]) if len(losses) > 2 else 0.0


def _families(groups: Sequence[_Group]) -> Iterable[str]:
    names = [("parameters", name) for name in TRAINED] + [("families", name) for name in NEW]
    yield ("PSNR (dB) and share of exact tokens, means of the seeds; first held-out tasks of trained families.")
    yield ""
    yield from _table(["arm", *(name for _, name in names)])
    for group in groups:
        cells = []
        for examined, name in names:
            scores = [run.families[examined][name] for run in group.runs.values()]
            psnr_db, right = (np.mean([measure(score) for score in scores]) for measure, _ in _MEASURES.values())
            cells.append(f"{psnr_db:.1f}, {right:.2f}")
        yield _row([group.name, *cells])


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
