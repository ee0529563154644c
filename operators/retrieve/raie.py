"""Retrieval-Augmented Image Editing: the in-context example of an edit is the one with the nearest instruction.

Paper section 3.3: by cosine similarity of text features, excluding the pair itself. That is how `xprompt shards`
chooses for the edit tasks, when all units are committed, since the nearest pair may be in any shard. `xprompt contexts`
(operators/retrieve/contexts.py) chooses anew, with more guards than the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence

from manifests.dataset import Dataset, Plan
from operators.retrieve.contexts import Choosing, Report, assign_ranked
from operators.retrieve.distance import Distance
from operators.retrieve.leaks import Guards
from operators.retrieve.ranked import EXACT_UP_TO
from operators.shared.texts import Embedder


def assign_contexts(
    dataset: Dataset,
    plan: Plan,
    embedder: Embedder,
    *,
    databases: Sequence[Dataset] = (),
    not_same_source: bool = False,
    distance: Distance = Distance.COSINE,
    exact_up_to: int = EXACT_UP_TO,
) -> Report:
    """Make the nearest other pair the in-context example of every example with an input image.

    Pairs come from the `databases`, of which the dataset may be one; without any, from the dataset itself. Never from a
    pair with the same key, nor with `not_same_source` of the same original picture. Raises DatasetError as
    `assign_ranked` does.
    """
    choosing = Choosing(
        texts=embedder,
        distance=distance,
        guards=Guards.SOURCE if not_same_source else Guards.ITSELF,
        exact_up_to=exact_up_to,
    )
    return assign_ranked(dataset, plan, choosing, databases=databases)
