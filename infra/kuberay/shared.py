"""What pods share: the claim of a volume, and a recipe file."""

from __future__ import annotations

from infra.kuberay.pods import Manifest, metadata
from infra.kuberay.values import Values
from pipelines.recipe import read_recipe

RECIPES = "/etc/xprompt"
"""The folder in which pods see the recipe file."""


def claim(values: Values) -> Manifest | None:
    """The PersistentVolumeClaim, where it is to be made."""
    if not values.volume or not (new := values.volume.create):
        return None
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(values, values.volume.claim),
        "spec": {
            "accessModes": ["ReadWriteMany"],  # pods on all nodes write to it
            "resources": {"requests": {"storage": new.size}},
            **({"storageClassName": new.storage_class} if new.storage_class else {}),
        },
    }


def recipe_map_name(values: Values) -> str:
    """The name of the ConfigMap that holds the recipe file."""
    return f"{values.name}-recipe"


def recipe_map(values: Values) -> Manifest | None:
    """The ConfigMap with the recipe file, where there is one. Raises ValueError for a file that is no recipe."""
    if not values.engine or values.engine.recipe is None:
        return None
    path = values.folder / values.engine.recipe
    read_recipe(str(path))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(values, recipe_map_name(values)),
        "data": {path.name: path.read_text()},
    }
