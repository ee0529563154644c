"""The trainer over nodes: an indexed Job of one pod a node, and the Service by which pods find each other."""

from __future__ import annotations

import shlex

from infra.kuberay.pods import Manifest, container, metadata, pod
from infra.kuberay.values import Train, Values

RENDEZVOUS = 29500
"""The port at which the first pod keeps the store of torchrun's rendezvous, as in README.md."""

_STOPPED = 75  # train/run/stopping.py: stopped, and saved
_REFUSED = 2  # what is wrong with the command line or the data, for all ranks

_SCRIPT = """\
# The first pod has the store of the rendezvous; the others wait until it can be reached.
host=1
if [ "$JOB_COMPLETION_INDEX" != 0 ]; then
  host=0
  until (: > /dev/tcp/{host}/{port}) 2> /dev/null; do sleep 2; done
fi
exec {before} --rdzv-conf "is_host=$host,join_timeout={wait_s}" {after}
"""
# Kubernetes itself would read what bash calls $(...).


def train_name(values: Values) -> str:
    """The name of the Job, of its Service, and of the rendezvous."""
    return f"{values.name}-train"


def script(values: Values, train: Train) -> str:
    """What a pod runs, in bash."""
    name = train_name(values)
    host = f"{name}-0.{name}"
    before = [
        *("python", "-m", "train.launch"),
        *("--nnodes", str(train.nodes), "--nproc-per-node", str(train.gpus or 1)),
        *("--rdzv-backend", "c10d", "--rdzv-id", name, "--rdzv-endpoint", f"{host}:{RENDEZVOUS}"),
        *("--max-restarts", str(train.restarts)),
    ]
    after = ["-m", "train.fsdp_train", *train.command]
    return _SCRIPT.format(
        host=host, port=RENDEZVOUS, before=shlex.join(before), after=shlex.join(after), wait_s=train.wait_s
    )


def train_service(values: Values) -> Manifest | None:
    """A Service without an address of its own, which gives each pod of the Job a name."""
    if not values.train:
        return None
    name = train_name(values)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(values, name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # the names are needed for pods to become ready
            "selector": {"batch.kubernetes.io/job-name": name},
            "ports": [{"name": "rendezvous", "port": RENDEZVOUS}],
        },
    }


def train_job(values: Values) -> Manifest | None:
    """The Job. A pod that was asked to leave and has saved is made anew, and does not count as failed."""
    if not (train := values.train):
        return None
    name = train_name(values)
    made = container(values, "trainer", train, train.gpus)
    made["command"] = ["tini", "--", "bash", "-c", script(values, train)]
    made["ports"] = [{"name": "rendezvous", "containerPort": RENDEZVOUS}]
    made["volumeMounts"].append({"name": "shm", "mountPath": "/dev/shm"})
    spec = pod(values, [made], train, gpus=train.gpus, grace_s=train.grace_s)
    spec["volumes"].append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": train.shm}})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(values, name),
        "spec": {
            "completionMode": "Indexed",
            "completions": train.nodes,
            "parallelism": train.nodes,
            # Where the first pod is lost, all others fail with it.
            "backoffLimit": train.retries * train.nodes,
            "podReplacementPolicy": "Failed",  # an index has one pod at a time
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [_REFUSED]}},
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [_STOPPED]}},
                ]
            },
            "template": {
                "metadata": {"labels": metadata(values, name)["labels"]},
                "spec": {**spec, "subdomain": name, "automountServiceAccountToken": False},
            },
        },
    }
