"""Checks manifests as an API server would that refuses unknown fields: by KubeRay's schemas and Kubernetes' own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]

from infra.kuberay.pods import Manifest

KUBERNETES = ("1.31", "1.37")
"""The oldest release whose schemas have all fields that are rendered as stable ones, and the newest there is here."""

_FOLDER = Path(__file__).parent / "data"
_CRDS = {"RayJob": "rayjobs", "RayCluster": "rayclusters"}


def check(manifest: Manifest) -> None:
    """Raises jsonschema.ValidationError for a manifest that a strict API server would refuse."""
    if manifest["kind"] in _CRDS:
        check_custom(manifest)
        for template in _templates(manifest["spec"]):
            check({"apiVersion": "v1", "kind": "Pod", "metadata": {}, **template})
        # The schema of a custom resource leaves open what its metadata are.
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": manifest["metadata"]}
    for version in KUBERNETES:
        check_kubernetes(manifest, version)


def check_kubernetes(manifest: Manifest, version: str) -> None:
    """The same by the schemas of one release of Kubernetes, for a kind of its own."""
    with mock.patch.object(kubernetes_validate.utils, "schema_contents", _contents):
        kubernetes_validate.validate(manifest, version, strict=True)


_contents = cache(kubernetes_validate.utils.schema_contents)
"""Reads a file of schemas once: each check of a manifest would read all of its release."""


def check_custom(manifest: Manifest) -> None:
    """The same by KubeRay's schema alone, in which pods are in it as well."""
    jsonschema.Draft202012Validator(crd(manifest["kind"])).validate(manifest)


def _templates(inside: Any) -> Iterator[Manifest]:
    """The templates of pods in a manifest, at any depth."""
    children = inside.items() if isinstance(inside, dict) else enumerate(inside) if isinstance(inside, list) else ()
    for name, child in children:
        if name in ("template", "submitterPodTemplate"):
            yield child
        else:
            yield from _templates(child)


@cache
def crd(kind: str) -> dict[str, Any]:
    """KubeRay's schema of a kind, in which no field is allowed that it does not name."""
    with gzip.open(_FOLDER / f"{_CRDS[kind]}.json.gz") as file:
        schema: dict[str, Any] = json.load(file)
    # An API server checks these by itself; the schema of a custom resource leaves them open.
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    closed = _closed(schema)
    assert isinstance(closed, dict)
    return closed


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {name: _closed(one) for name, one in schema.items()}
    made = {name: _closed(one) for name, one in schema.items() if name != "properties"}
    made["properties"] = {name: _closed(one) for name, one in properties.items()}
    if not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made
