"""Whether the person that was made has the pose that was asked for (paper section 4.5 leaves this out: ours)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from manifests.images.pixels import decode_rgb
from manifests.schema import Pair, Reject, Step
from operators.models.pose.estimators import PoseOperator, estimator
from operators.models.pose.keypoints import scaled, similarity
from operators.paint.estimate_pose import estimated


@dataclass(frozen=True, kw_only=True)
class CheckPose(PoseOperator):
    """Estimates the target's pose and keeps the pair if it is like the input's. Rejects: nobody_made, other_pose.

    The score "oks", object keypoint similarity in [0, 1], is stored for all; it is 0 where nobody is found.
    """

    name: ClassVar[str] = "check_pose"
    version: ClassVar[int] = 1
    min_oks: float = 0.5
    """The "oks" from which on COCO's loosest measure (AP at .50) counts a pose as found; 0 keeps all."""

    def lenient(self) -> Self:
        return replace(self, min_oks=0.0)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        before, after = pair.image("input"), pair.image("target")
        assert before and after, "there are two persons to compare"
        found = estimator(self.estimator, self.folder)(decode_rgb(after.data))
        wanted = scaled(estimated(pair), after.width_px / before.width_px, after.height_px / before.height_px)
        oks = round(similarity(found, wanted), 6)
        if oks < self.min_oks:
            if found is None:
                raise Reject("nobody_made", f"{self.estimator} finds nobody in what was made", {"oks": oks})
            raise Reject("other_pose", f"similarity of the poses {oks:.3f} < {self.min_oks}", {"oks": oks})
        step = Step(
            operator=self.name,
            version=self.version,
            params={"estimator": self.estimator, "min_oks": self.min_oks},
            model=self.model,
            model_revision=self.model_revision,
        )
        return replace(pair, scores={**pair.scores, "oks": oks}, steps=(*pair.steps, step))
