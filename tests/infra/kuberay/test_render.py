"""Manifests fit the schemas of KubeRay and Kubernetes, and say what the code and the container do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError  # type: ignore[import-untyped]
from ray._private import ray_constants
from ray.scripts.scripts import start
from torch.distributed import run as torchrun

from infra.command import _parser
from infra.kuberay.__main__ import PARTS, main, render
from infra.kuberay.pods import USER, Manifest
from infra.kuberay.ray import PORTS, ray_version
from infra.kuberay.train import RENDEZVOUS
from infra.kuberay.values import STARTED, read_values
from pipelines.full_8m import asked_for
from pipelines.retry_command import main as retry
from pipelines.run import start as our_start
from tests.commands import ROOT
from tests.infra.container.steps import steps_of
from tests.infra.kuberay.schemas import check, check_custom, check_kubernetes
from tests.infra.kuberay.test_values import GIVEN, written
from train.run.config import parse
from train.run.stopping import STOPPED


def manifests(path: Path, only: list[str] | None = None) -> dict[str, Manifest]:
    """What is rendered from a file, by kind."""
    rendered = render(read_values(path), only)
    return {manifest["kind"]: manifest for part in rendered.values() for manifest in part}


def minimal(folder: Path) -> Path:
    """Values with nothing in them that may be left out: a bucket, no volume, no keys, no trainer."""
    path = folder / "minimal.yaml"
    path.write_text(
        """
name: few
image: {cpu: "xprompt:cpu", cuda: "xprompt:cuda"}
engine:
  command: [shards, derain, --out, "s3://bucket/xprompt"]
  auth: disabled
  head: {cpus: 2, memory: 8Gi}
  groups: [{name: cpu, min: 1, max: 1, cpus: 4, memory: 16Gi}]
"""
    )
    return path


def full(folder: Path) -> Path:
    """Values with everything in them."""
    path = written(folder, "engine.recipe", "mine.toml")
    values = yaml.safe_load(path.read_text())
    values |= {"namespace": "lab", "service_account": "xprompt", "env": {"NCCL_SOCKET_IFNAME": "eth0"}}
    values["image"]["pull_secret"] = "registry"
    values["volume"]["create"]["class"] = "nfs"
    taint = {"key": "lab", "operator": "Equal", "value": "us", "effect": "NoExecute"}
    for placed in (values["engine"]["head"], values["train"]):
        placed |= {"node_selector": {"pool": "large"}, "tolerations": [taint]}
    for spot in ("eks", "karpenter", "aks"):
        values["engine"]["groups"].append({**values["engine"]["groups"][1], "name": f"gpu-{spot}", "spot": spot})
    path.write_text(yaml.safe_dump(values))
    (folder / "mine.toml").write_text('[[datasets]]\ntask = "derain"\n')
    return path


@pytest.mark.parametrize("made", [lambda folder: GIVEN, minimal, full])
@pytest.mark.parametrize("only", [None, ["raycluster"]])
def test_manifests_fit_the_schemas(made: Any, only: list[str] | None, tmp_path: Path) -> None:
    rendered = manifests(made(tmp_path), only)
    assert rendered
    for manifest in rendered.values():
        check(manifest)


def test_each_part_is_rendered(tmp_path: Path) -> None:
    assert set(manifests(full(tmp_path))) == {"PersistentVolumeClaim", "ConfigMap", "RayJob", "Service", "Job"}
    assert set(manifests(minimal(tmp_path))) == {"RayJob"}
    assert set(manifests(GIVEN, ["raycluster"])) == {"RayCluster"}


def _mappings(inside: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All mappings in a manifest, with the key that each is at."""
    if isinstance(inside, dict):
        yield name, inside
        for key, child in inside.items():
            yield from _mappings(child, key)
    elif isinstance(inside, list):
        for child in inside:
            yield from _mappings(child, name)


FREE = ("labels", "nodeSelector", "requests", "limits", "selector", "rayStartParams", "data")
"""Mappings whose keys are anybody's."""


@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "ConfigMap", "Service", "Job", "RayJob"])
def test_an_unknown_field_anywhere_is_refused(kind: str, tmp_path: Path) -> None:
    """Each mapping whose keys are not free gets, one after the other, a key that nobody knows."""
    manifest = manifests(full(tmp_path))[kind]
    named = [mapping for name, mapping in _mappings(manifest) if name not in FREE]
    # KubeRay's schema leaves metadata open; what checks them is the same for all kinds.
    named = [mapping for mapping in named if kind != "RayJob" or mapping is not manifest["metadata"]]
    assert len(named) >= 2
    for mapping in named:
        mapping["xpromptNoSuchField"] = "x"
        with pytest.raises(ValidationError):
            check_custom(manifest) if kind == "RayJob" else check_kubernetes(manifest, "1.31")
        del mapping["xpromptNoSuchField"]
    check(manifest)


def test_unknown_metadata_are_refused() -> None:
    manifest = manifests(GIVEN)["RayJob"]
    manifest["metadata"]["label"] = {}
    with pytest.raises(ValidationError):
        check(manifest)


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("rayClusterSpec", "workerGroupSpecs", 0, "maxReplicas"), "8"),
        (("rayClusterSpec", "authOptions", "mode"), "password"),
        (("rayClusterSpec", "autoscalerOptions", "version"), "v3"),
        (("rayClusterSpec", "headGroupSpec", "template", "spec", "restartPolicy"), 7),
        (("rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("ttlSecondsAfterFinished",), "3600"),
    ],
)
def test_a_wrong_type_is_refused(way: tuple[Any, ...], value: object) -> None:
    manifest = manifests(GIVEN)["RayJob"]
    inside = manifest["spec"]
    for part in way[:-1]:
        inside = inside[part]
    inside[way[-1]] = value
    with pytest.raises(ValidationError):
        check(manifest)


COMMANDS = [
    [],
    ["shards", "derain", "--data", "/data/Rain13K", "--out", "/data/xprompt"],
    ["tokens", "derain", "--out", "/data/xprompt", "--models", "/data/models"],
    ["retry", "/data/xprompt/derain", "--reason", "timeout", "--out", "/data/again"],
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_entrypoint_is_a_command_of_ours(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "engine.command", command) if command else GIVEN
    program, *arguments = shlex.split(manifests(path)["RayJob"]["spec"]["entrypoint"])
    assert program == "xprompt"
    if arguments[0] == "recipe":
        asked = asked_for(arguments[1:], "xprompt recipe")
        assert asked.out == "/data/xprompt" and asked.data_root == "/data/sources"
        assert (asked.shared["models"], asked.shared["gpus"], asked.shared["gpu_gib"]) == ("hub", 16, 80)
    elif arguments[0] == "retry":
        # It reads the dataset that it is to make rejects of again; that there is none here comes after its options.
        assert retry(arguments[1:], "xprompt retry") == 2
        assert "/data/xprompt/derain is not a dataset directory" in capsys.readouterr().err
    else:
        options, unknown = _parser(arguments).parse_known_args(arguments)
        assert unknown == [] and options.out == "/data/xprompt"
        assert getattr(options, "gpus", None) == (16 if arguments[0] == "shards" else None)


def test_all_commands_that_start_a_ray_may_be_run() -> None:
    from infra.command import _START_RAY

    assert {*STARTED, "doctor"} == {*_START_RAY}  # the doctor makes nothing: nobody waits for a job of it


def test_a_recipe_file_is_mounted_where_the_command_looks_for_it(tmp_path: Path) -> None:
    rendered = manifests(full(tmp_path))
    words = shlex.split(rendered["RayJob"]["spec"]["entrypoint"])
    place = Path(words[words.index("--recipe") + 1])
    head = rendered["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (mount,) = (one for one in head["containers"][0]["volumeMounts"] if one["mountPath"] == str(place.parent))
    (volume,) = (one for one in head["volumes"] if one["name"] == mount["name"])
    recipe = rendered["ConfigMap"]
    assert volume["configMap"]["name"] == recipe["metadata"]["name"]
    assert recipe["data"] == {place.name: (tmp_path / "mine.toml").read_text()}


def test_what_is_no_recipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = full(tmp_path)
    (tmp_path / "mine.toml").write_text("[[datasets]]\ntsak = 'derain'\n")
    assert main([str(path)]) == 2
    assert "mine.toml" in (said := capsys.readouterr().err) and said.count("\n") == 1


def test_ray_starts_by_the_parameters(tmp_path: Path) -> None:
    """Ray's own parser reads what KubeRay makes of them."""
    spec = manifests(full(tmp_path))["RayJob"]["spec"]["rayClusterSpec"]
    head = [f"--{name}={value}" for name, value in spec["headGroupSpec"]["rayStartParams"].items()]
    read = start.make_context("start", ["--head", "--block", *head]).params
    assert (read["num_cpus"], read["metrics_export_port"], read["dashboard_host"]) == (0, PORTS["metrics"], "0.0.0.0")
    for group in spec["workerGroupSpecs"]:
        given = [f"--{name}={value}" for name, value in group["rayStartParams"].items()]
        start.make_context("start", ["--address=head:6379", "--block", *given])


def test_ports_are_those_of_ray_and_of_the_code() -> None:
    assert PORTS == {
        "gcs-server": ray_constants.DEFAULT_PORT,
        "dashboard": ray_constants.DEFAULT_DASHBOARD_PORT,
        "client": our_start._CLIENT_PORT,
        "metrics": 8080,  # README.md, and KubeRay's
    }
    head = manifests(GIVEN)["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert {port["name"]: port["containerPort"] for port in head["ports"]} == PORTS


def test_the_version_of_ray_is_the_locked_one() -> None:
    import ray

    locked = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked and ray_version() == locked[1] == ray.__version__


def test_pods_run_as_the_user_of_the_container(tmp_path: Path) -> None:
    _, steps = steps_of("cuda")
    (user,) = (step.text for step in steps if step.word == "USER")
    assert user == f"{USER}:{USER}"
    specs = [spec for manifest in manifests(full(tmp_path)).values() for spec in _pods(manifest)]
    assert len(specs) == 1 + 5 + 1 + 1  # head, groups, submitter, trainer
    for spec in specs:
        security = spec["securityContext"]
        assert security["runAsNonRoot"] and (security["runAsUser"], security["fsGroup"]) == (USER, USER)
        assert spec["imagePullSecrets"] == [{"name": "registry"}] and spec["serviceAccountName"] == "xprompt"


def _pods(manifest: Manifest) -> list[dict[str, Any]]:
    return [one for _, one in _mappings(manifest) if "containers" in one]


def test_keys_come_from_secrets_and_go_where_they_are_needed() -> None:
    text = "".join(str(one) for one in manifests(GIVEN).values())
    assert "secretKeyRef" in text and "'HF_TOKEN', 'value'" not in text
    job = manifests(GIVEN)["RayJob"]["spec"]
    for spec in _pods(job["rayClusterSpec"]):
        named = {one["name"]: one.get("valueFrom") for one in spec["containers"][0]["env"]}
        assert named["HF_TOKEN"] == {"secretKeyRef": {"name": "xprompt-keys", "key": "hf-token"}}
        assert named["OPENAI_API_KEY"] == {"secretKeyRef": {"name": "xprompt-keys", "key": "openai-key"}}
    assert "secretKeyRef" not in str(job["submitterPodTemplate"])


def test_spot_workers_may_vanish_and_only_they_are_on_spot_nodes(tmp_path: Path) -> None:
    spec = manifests(full(tmp_path))["RayJob"]["spec"]["rayClusterSpec"]
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    selectors = {name: group["template"]["spec"].get("nodeSelector", {}) for name, group in groups.items()}
    assert selectors["gpu-spot"]["cloud.google.com/gke-spot"] == "true"
    assert selectors["gpu-spot"]["cloud.google.com/gke-accelerator"] == "nvidia-a100-80gb"
    assert selectors["gpu-eks"]["eks.amazonaws.com/capacityType"] == "SPOT"
    assert selectors["gpu-karpenter"]["karpenter.sh/capacity-type"] == "spot"
    assert selectors["gpu-aks"]["kubernetes.azure.com/scalesetpriority"] == "spot"
    assert selectors["cpu"] == {} and groups["gpu-spot"]["minReplicas"] == 0 and spec["enableInTreeAutoscaling"]
    taints = {one["key"] for one in groups["gpu-spot"]["template"]["spec"]["tolerations"]}
    assert taints == {"cloud.google.com/gke-spot", "nvidia.com/gpu"}
    container = groups["gpu-spot"]["template"]["spec"]["containers"][0]
    assert container["image"].endswith(":cuda") and container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert groups["cpu"]["template"]["spec"]["containers"][0]["image"].endswith(":cpu")


def test_the_trainer_is_started_by_commands_that_its_parsers_read() -> None:
    job = manifests(GIVEN)["Job"]["spec"]
    tini, dashes, bash, option, script = job["template"]["spec"]["containers"][0]["command"]
    assert (tini, dashes, bash, option) == ("tini", "--", "bash", "-c")
    assert "$(" not in script  # Kubernetes would replace it before bash sees it
    line = script.splitlines()[-1].replace("$host", "1")
    run, python, module, launch, *arguments = shlex.split(line)
    assert (run, python, module, launch) == ("exec", "python", "-m", "train.launch")
    options = torchrun.get_args_parser().parse_args(arguments)
    assert (options.nnodes, options.nproc_per_node, options.max_restarts) == ("2", "8", 3)
    service = manifests(GIVEN)["Service"]
    name = service["metadata"]["name"]
    assert options.rdzv_endpoint == f"{name}-0.{name}:{RENDEZVOUS}"  # the first pod's, where `subdomain` is a Service
    assert job["template"]["spec"]["subdomain"] == name == manifests(GIVEN)["Job"]["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["ports"][0]["port"] == RENDEZVOUS
    assert options.module and options.training_script == "train.fsdp_train"
    config = parse(options.training_script_args)
    assert (config.preset, config.out) == ("7b-paper", "/data/runs/7b-paper")


def test_what_becomes_of_a_trainers_pod_goes_by_its_exit_status() -> None:
    rules = manifests(GIVEN)["Job"]["spec"]["podFailurePolicy"]["rules"]
    by_status = {value: rule["action"] for rule in rules for value in rule.get("onExitCodes", {}).get("values", [])}
    assert by_status == {2: "FailJob", STOPPED: "Ignore"}


def test_values_that_are_stopped_have_time_to_save() -> None:
    rendered = manifests(GIVEN)
    head = rendered["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    waits = {one["name"]: one.get("value") for one in head["containers"][0]["env"]}["RAY_JOB_STOP_WAIT_TIME_S"]
    assert waits and int(waits) < head["terminationGracePeriodSeconds"]
    assert rendered["Job"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 900


def test_yaml_reads_back_as_what_was_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = full(tmp_path)
    assert main([str(path)]) == 0
    read = list(yaml.safe_load_all(capsys.readouterr().out))
    assert read == [one for part in render(read_values(path)).values() for one in part]
    assert main([str(path), "--out", str(tmp_path / "out"), "--only", "train", "volume"]) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["train.yaml", "volume.yaml"]
    assert [one["kind"] for one in yaml.safe_load_all((tmp_path / "out/train.yaml").read_text())] == ["Service", "Job"]


def test_every_part_can_be_asked_for(tmp_path: Path) -> None:
    path = full(tmp_path)
    assert {part for part in PARTS if render(read_values(path), [part])} == set(PARTS)
