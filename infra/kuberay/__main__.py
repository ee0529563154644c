"""Renders manifests for Kubernetes from one file of values.

    python -m infra.kuberay values.yaml | kubectl apply -f -
    python -m infra.kuberay values.yaml --only train --out /tmp/k8s

Without --only it renders the volume's claim, the recipe, the RayJob and the trainer's Job, as far as the values have
them. A RayCluster without a job is rendered only when it is asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from infra.arguments import Parser
from infra.kuberay.pods import Manifest
from infra.kuberay.ray import ray_cluster, ray_job
from infra.kuberay.shared import claim, recipe_map
from infra.kuberay.train import train_job, train_service
from infra.kuberay.values import Values, read_values
from manifests.printing import say

PARTS: dict[str, tuple[Callable[[Values], Manifest | None], ...]] = {
    "volume": (claim,),
    "recipe": (recipe_map,),
    "rayjob": (ray_job,),
    "train": (train_service, train_job),
    "raycluster": (ray_cluster,),
}
"""What --only names, by what makes its manifests; None is made of what the values do not have."""

_ASKED_FOR = ("raycluster",)
"""The cluster of the RayJob once more, for work by hand."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Render, and return the exit status: 2, with one line, for values that are wrong."""
    parser = Parser(
        prog="python -m infra.kuberay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("values", type=Path, help="file of values; infra/kuberay/values.yaml explains each key")
    parser.add_argument("--only", nargs="+", choices=PARTS, help=f"render these alone ({', '.join(PARTS)})")
    parser.add_argument("--out", type=Path, help="folder that gets one file a part (default: standard output)")
    options = parser.parse_args(arguments)
    try:
        rendered = render(read_values(options.values), options.only)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            for part, manifests in rendered.items():
                (options.out / f"{part}.yaml").write_text(dumped(manifests))
        else:
            sys.stdout.write(dumped([one for manifests in rendered.values() for one in manifests]))
    except (ValueError, OSError) as error:
        say(f"{parser.prog}: {' '.join(str(error).split())}", error=True)
        return 2
    return 0


def render(values: Values, only: Sequence[str] | None = None) -> dict[str, list[Manifest]]:
    """Manifests by part. Raises ValueError for a part that is asked for and that the values do not have."""
    rendered = {}
    for part in only or [part for part in PARTS if part not in _ASKED_FOR]:
        manifests = [manifest for make in PARTS[part] if (manifest := make(values))]
        if manifests:
            rendered[part] = manifests
        elif only:
            raise ValueError(f"the values say nothing of which {part} could be rendered")
    return rendered


def dumped(manifests: Sequence[Manifest]) -> str:
    """Manifests as YAML, in the order of their keys, without anchors: kubectl reads both, people only one."""
    return yaml.dump_all(manifests, Dumper=_Plain, sort_keys=False, explicit_start=True, width=120)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _as_lines(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A text of several lines as such, as scripts and recipes are read."""
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Plain.add_representer(str, _as_lines)


if __name__ == "__main__":
    sys.exit(main())
