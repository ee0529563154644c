"""Leaves out pairs whose licence a policy does not allow, of sources in which each item may have one of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from manifests.licences.effective import makers, parents
from manifests.licences.policy import REASON
from manifests.schema import Pair, Reject, Step


@dataclass(frozen=True, kw_only=True)
class AllowedLicences:
    """Rejects a pair that is under a licence which is not among the `allowed`: licence.

    It looks at the licence of the pair and at the models that had a hand in it so far. The names of the licences, not
    the policy that lists them, are in a dataset's fingerprint: a policy lets other ones through when records change.
    """

    name: ClassVar[str] = "allowed_licences"
    version: ClassVar[int] = 1
    allowed: tuple[str, ...]
    """Names of records of manifests/licences/records.py, sorted."""

    def __call__(self, pair: Pair, seed: int) -> Pair:
        made = makers((step.operator, step.model) for step in pair.steps)
        if refused := parents(pair.licence, pair.source, made).refused(self.allowed):
            raise Reject(REASON, f"{pair.licence or 'no licence'}: {', '.join(refused)} is not allowed")
        return replace(pair, steps=(*pair.steps, Step(operator=self.name, version=self.version)))
