"""A pod of ours, as RayCluster, RayJob and Job have it in them."""

from __future__ import annotations

from typing import Any

from infra.kuberay.values import SPOT, Image, Placed, Toleration, Values

Manifest = dict[str, Any]

USER = 10001
"""The user and group of infra/container/Containerfile."""

GPU = "nvidia.com/gpu"
"""The resource that NVIDIA's device plugin offers, and the taint that providers give to nodes with GPUs."""

_SPOT: dict[SPOT, tuple[dict[str, str], tuple[Toleration, ...]]] = {
    "gke": (
        {"cloud.google.com/gke-spot": "true"},
        (Toleration(key="cloud.google.com/gke-spot", operator="Equal", value="true", effect="NoSchedule"),),
    ),
    "eks": ({"eks.amazonaws.com/capacityType": "SPOT"}, ()),
    "karpenter": ({"karpenter.sh/capacity-type": "spot"}, ()),
    "aks": (
        {"kubernetes.azure.com/scalesetpriority": "spot"},
        (Toleration(key="kubernetes.azure.com/scalesetpriority", operator="Equal", value="spot", effect="NoSchedule"),),
    ),
}
"""How providers mark their spot nodes: labels, and the taints that keep other pods away."""


def metadata(values: Values, name: str) -> Manifest:
    """The name, namespace and labels of a manifest."""
    labels = {"app.kubernetes.io/name": "xprompt", "app.kubernetes.io/instance": values.name}
    return {"name": name, **({"namespace": values.namespace} if values.namespace else {}), "labels": labels}


def image_of(image: Image, gpus: int) -> str:
    """The image of a pod with so many GPUs."""
    return image.cuda if gpus else image.cpu


def resources(cpus: str, memory: str, gpus: int = 0) -> Manifest:
    """What a container asks for and may use, which are the same: Ray takes the limits for what a node has."""
    amounts = {"cpu": cpus, "memory": memory, **({GPU: str(gpus)} if gpus else {})}
    return {"requests": dict(amounts), "limits": dict(amounts)}


def container_security() -> Manifest:
    """What a container may do: nothing that takes privileges."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def container(values: Values, name: str, placed: Placed, gpus: int = 0, *, keys: bool = True) -> Manifest:
    """A container with the shared volume, and with the keys unless it needs none."""
    made: Manifest = {
        "name": name,
        "image": image_of(values.image, gpus),
        "resources": resources(placed.cpus, placed.memory, gpus),
        "securityContext": container_security(),
        "env": _environment(values, keys=keys),
    }
    if values.volume:
        made["volumeMounts"] = [{"name": "shared", "mountPath": values.volume.mount}]
    return made


def pod(
    values: Values, containers: list[Manifest], placed: Placed, *, gpus: int = 0, spot: SPOT | None = None, grace_s: int
) -> Manifest:
    """A pod's specification, on the nodes that it may be on."""
    labels, taints = _SPOT[spot] if spot else ({}, ())
    tolerations = [*placed.tolerations, *taints, *([Toleration(key=GPU)] if gpus else [])]
    selector = {**labels, **placed.node_selector}
    made: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace_s,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",  # a volume of a million files is not gone through each time
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
    }
    if values.service_account:
        made["serviceAccountName"] = values.service_account
    if values.image.pull_secret:
        made["imagePullSecrets"] = [{"name": values.image.pull_secret}]
    if selector:
        made["nodeSelector"] = selector
    if tolerations:
        made["tolerations"] = [_toleration(one) for one in tolerations]
    if values.volume:
        made["volumes"] = [{"name": "shared", "persistentVolumeClaim": {"claimName": values.volume.claim}}]
    return made


def _toleration(one: Toleration) -> Manifest:
    given = {"key": one.key, "operator": one.operator, "value": one.value, "effect": one.effect}
    return {name: value for name, value in given.items() if value is not None}


def _environment(values: Values, *, keys: bool) -> list[Manifest]:
    plain = dict(values.env)
    if values.volume:
        plain.setdefault("HF_HOME", f"{values.volume.mount}/huggingface")  # fetched once for all pods
    listed: list[Manifest] = [{"name": name, "value": value} for name, value in plain.items()]
    for name, reference in values.secrets.items() if keys else ():
        secret, _, key = reference.partition("/")
        listed.append({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    return listed
