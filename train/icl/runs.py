"""What a finished training run of the experiment leaves behind, as a JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from train.icl.model import Arm
from train.icl.tasks import Family


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all arms of a family have in common."""

    family: Family
    steps: int
    batch: int = 32
    learning_rate: float = 3e-3


@dataclass(kw_only=True)
class Run:
    """One arm with one seed. "held_out" and "trained" are the two sets of tasks."""

    arm: Arm
    seed: int
    settings: Settings
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    """Step, mean training loss since the point before (nats a token), share of held-out cells that are right."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Share of cells that are right, by set."""
    psnr_db: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    """CPU time of the run."""
    pictures: list[list[list[int]]] = field(default_factory=list)
    """Held-out examples as codes: context input, context output, query, answer, what the model said."""

    @property
    def name(self) -> str:
        return f"{self.settings.family}-{self.arm}-{self.seed}"

    def write(self, folder: Path) -> None:
        path = folder / f"{self.name}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self)), "utf-8")
        temporary.rename(path)

    @classmethod
    def finished(cls, folder: Path, arm: Arm, seed: int, settings: Settings) -> Run | None:
        """This run, if it has been finished with the same settings."""
        path = folder / f"{cls(arm=arm, seed=seed, settings=settings).name}.json"
        if not path.is_file():
            return None
        values = json.loads(path.read_text("utf-8"))
        curve = [(step, loss, accuracy) for step, loss, accuracy in values.pop("curve")]
        run = cls(**{**values, "settings": Settings(**values["settings"]), "curve": curve})
        return run if run.settings == settings else None
