"""What a finished training run of the experiment leaves behind, as a JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Arm = Literal["base", "none", "causal", "xprompt", "averages"]
BASE: Arm = "base"
"""What the arms of a seed start from. It sees the whole example, as the arm "causal" does."""
ARMS: tuple[Arm, ...] = ("none", "causal", "xprompt", "averages")
COMPRESSED: tuple[Arm, ...] = ("xprompt", "averages")
"""The arms to which S matters."""


def _of(default: Any, text: str) -> Any:
    """A field with its default and what --help says of it."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all runs of an experiment have in common."""

    side: int = _of(3, "pixels, that is tokens, along each side of a picture")
    width: int = _of(48, "width of the model's hidden states")
    layers: int = _of(4, "layers of the model")
    heads: int = _of(3, "attention heads of each layer")
    base_steps: int = _of(2_000, "steps of the optimizer for a seed's base; 0: none, each arm from scratch")
    steps: int = _of(400, "steps of each arm")
    batch: int = _of(32, "examples of a step")
    learning_rate: float = _of(4e-3, "learning rate at its highest")
    examined: int = _of(400, "examples of each set of tasks that are scored at the end")

    def __post_init__(self) -> None:
        """Raises ValueError for a shape that no model has, or nothing to do."""
        values = asdict(self)
        if values.pop("base_steps") < 0 or min(values.values()) <= 0 or self.side < 3:
            raise ValueError(f"all settings are above 0 (base steps: or 0), the side at least 3: {self}")
        if self.width % (2 * self.heads):
            raise ValueError(f"a model of width {self.width} cannot have {self.heads} heads of an even width")


@dataclass(kw_only=True)
class Score:
    """Of one set of tasks, or one family of it."""

    psnr_db: float
    """Of the pictures, by the mean squared error over all of them."""
    right: float
    """Share of the tokens that are exactly right."""


@dataclass(kw_only=True)
class Run:
    """One arm with one seed."""

    arm: Arm
    seed: int
    xp_tokens: int
    """S; 0 for arms to which it does not matter."""
    settings: Settings
    curve: list[tuple[int, float, Score]] = field(default_factory=list)
    """Step, mean training loss since the point before (nats a token), score of some held-out tasks."""
    scores: dict[str, Score] = field(default_factory=dict)
    """By set of tasks."""
    families: dict[str, dict[str, Score]] = field(default_factory=dict)
    """By set of tasks and family."""
    seconds: float = 0.0
    """CPU time of the run."""
    pictures: list[list[list[int]]] = field(default_factory=list)
    """Examples of held-out tasks as flat codes: context input, context output, query, answer, what the model said."""

    @property
    def name(self) -> str:
        return f"{self.arm}{self.xp_tokens or ''}-{self.seed}"

    def weights(self, folder: Path) -> Path:
        """The file of a base's weights."""
        return folder / f"{self.name}.safetensors"

    def write(self, folder: Path) -> None:
        path = folder / f"{self.name}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self)), "utf-8")
        temporary.rename(path)

    @classmethod
    def finished(cls, folder: Path, arm: Arm, seed: int, xp_tokens: int, settings: Settings) -> Run | None:
        """This run, if it has been finished with the same settings."""
        run = cls(arm=arm, seed=seed, xp_tokens=xp_tokens, settings=settings)
        path = folder / f"{run.name}.json"
        if not path.is_file() or (arm == BASE and not run.weights(folder).is_file()):
            return None
        values = json.loads(path.read_text("utf-8"))
        if values.pop("settings") != asdict(settings):
            return None
        values["curve"] = [(step, loss, Score(**score)) for step, loss, score in values["curve"]]
        values["scores"] = {name: Score(**score) for name, score in values["scores"].items()}
        values["families"] = {
            examined: {name: Score(**score) for name, score in of.items()}
            for examined, of in values["families"].items()
        }
        return cls(**values, settings=settings)
