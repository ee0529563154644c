"""The data engine on KubeRay: a RayCluster of a head and groups of workers, and a RayJob that has one for its run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from infra.kuberay.pods import Manifest, container, container_security, metadata, pod, resources
from infra.kuberay.shared import RECIPES, recipe_map_name
from infra.kuberay.values import Engine, Group, Placed, Values

_LOCK = Path(__file__).parents[2] / "requirements.lock"

PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080}
"""Of the head, by the names that KubeRay knows them by. Workers have `metrics` alone."""

_METRICS = {"metrics-export-port": str(PORTS["metrics"])}

_STOP_MARGIN_S = 5
"""Of the grace period, what is left after Ray has waited for the driver, for Ray itself to end."""

_GPUS_ADDED = ("shards", "recipe")
"""The commands that take --gpus and --gpu-gib."""


def ray_version() -> str:
    """The version of Ray that the images have: the locked one. Raises ValueError if the lock file does not say."""
    match = re.search(r"^ray==(\S+)", _LOCK.read_text(), re.MULTILINE)
    if not match:
        raise ValueError(f"{_LOCK} does not say which version of ray is installed")
    return match[1]


def entrypoint(engine: Engine) -> str:
    """The command of the run, as the RayJob has it."""
    words = ["xprompt", *engine.command]
    if engine.recipe is not None:
        words += ["--recipe", f"{RECIPES}/{Path(engine.recipe).name}"]
    with_gpus = [group for group in engine.groups if group.gpus]
    if with_gpus and engine.command[0] in _GPUS_ADDED:
        # The autoscaler begins without them, and only the run itself asks for them.
        if not _has(engine, "--gpus"):
            words += ["--gpus", str(sum(group.max * group.gpus for group in with_gpus))]
        if not _has(engine, "--gpu-gib"):
            words += ["--gpu-gib", str(min(group.gpu_gib or 0 for group in with_gpus))]
    return shlex.join(words)


def _has(engine: Engine, option: str) -> bool:
    return any(word.partition("=")[0] == option for word in engine.command)


def cluster_spec(values: Values, engine: Engine) -> Manifest:
    """The specification of a Ray cluster."""
    return {
        "rayVersion": ray_version(),
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": engine.idle_s,
            "upscalingMode": "Default",
            "securityContext": container_security(),
            "resources": resources("500m", "1Gi"),
        },
        # Operators from before 1.5.1 do not know authOptions.
        **({"authOptions": {"mode": engine.auth}} if engine.auth != "disabled" else {}),
        "headGroupSpec": {
            "rayStartParams": {
                "dashboard-host": "0.0.0.0",
                "num-cpus": "0",
                **_METRICS,
            },  # no worker: it has the driver
            "template": {"spec": _head(values, engine)},
        },
        "workerGroupSpecs": [_group(values, engine, group) for group in engine.groups],
    }


def ray_cluster(values: Values) -> Manifest | None:
    """A Ray cluster without a job, to work with."""
    if not (engine := values.engine):
        return None
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": metadata(values, f"{values.name}-ray"),
        "spec": cluster_spec(values, engine),
    }


def ray_job(values: Values) -> Manifest | None:
    """The run of the data engine, on a Ray cluster of its own."""
    if not (engine := values.engine):
        return None
    submitter = container(values, "ray-job-submitter", Placed(cpus="500m", memory="1Gi"), keys=False)
    spec = pod(values, [submitter], Placed(cpus="500m", memory="1Gi"), grace_s=30)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": metadata(values, f"{values.name}-engine"),
        "spec": {
            "entrypoint": entrypoint(engine),
            "submissionMode": "K8sJobMode",
            "backoffLimit": engine.retries,
            "activeDeadlineSeconds": engine.max_hours * 3_600,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": engine.keep_s,
            "rayClusterSpec": cluster_spec(values, engine),
            "submitterPodTemplate": {"spec": {**spec, "automountServiceAccountToken": False}},
        },
    }


def _head(values: Values, engine: Engine) -> Manifest:
    head = container(values, "ray-head", engine.head)
    head["ports"] = [{"name": name, "containerPort": port} for name, port in PORTS.items()]
    # How long a driver that was told to stop may take to say what is kept, before Ray kills it; by default 3 s.
    head["env"].append({"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": str(engine.grace_s - _STOP_MARGIN_S)})
    spec = pod(values, [head], engine.head, grace_s=engine.grace_s)
    if engine.recipe is not None:
        head.setdefault("volumeMounts", []).append({"name": "recipe", "mountPath": RECIPES, "readOnly": True})
        spec.setdefault("volumes", []).append({"name": "recipe", "configMap": {"name": recipe_map_name(values)}})
    return spec


def _group(values: Values, engine: Engine, group: Group) -> Manifest:
    worker = container(values, "ray-worker", group, group.gpus)
    worker["ports"] = [{"name": "metrics", "containerPort": PORTS["metrics"]}]
    spec = pod(values, [worker], group, gpus=group.gpus, spot=group.spot, grace_s=engine.grace_s)
    return {
        "groupName": group.name,
        "replicas": group.min,
        "minReplicas": group.min,
        "maxReplicas": group.max,
        "rayStartParams": dict(_METRICS),
        "template": {"spec": {**spec, "automountServiceAccountToken": False}},
    }
