"""The file of values that manifests are rendered from, read strictly: every key is known and every value is checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from infra.kuberay.reading import read_yaml, record, value

SPOT = Literal["gke", "eks", "karpenter", "aks"]

_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # RFC 1035, as KubeRay checks names
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")  # RFC 1123
_IMAGE = re.compile(r"[\w.-]+(:\d+)?(/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", re.ASCII)
_QUANTITY = re.compile(r"([0-9]+(\.[0-9]+)?)(m|k|[KMGTP]i?)?")  # of apimachinery's resource.Quantity what is of use
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_SECRET = re.compile(r"(?P<name>[a-z0-9]([-a-z0-9.]*[a-z0-9])?)/(?P<key>[-._A-Za-z0-9]+)")
_WORD = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_KEEPS = re.compile(r"(TOKEN|SECRET|PASSWORD|_KEY|KEY_ID)$")


def _matching(pattern: re.Pattern[str], what: str, most: int = 253) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not pattern.fullmatch(value) or len(value) > most:
            raise ValueError(what)

    return check


def _at_least(least: int) -> Callable[[int], None]:
    def check(value: int) -> None:
        if value < least:
            raise ValueError(f"a whole number, {least} or above")

    return check


def _absolute(value: str) -> None:
    if not value.startswith("/") or value == "/" or value.endswith("/"):
        raise ValueError("a folder such as /data")


def _variables(value: Mapping[str, str]) -> None:
    for name in value:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"names of environment variables, which {name} is not")
        if _KEEPS.search(name):
            raise ValueError(f"variables that are no secret: {name} belongs below secrets, as SECRET/KEY")


def _secrets(value: Mapping[str, str]) -> None:
    for name, reference in value.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"names of environment variables, which {name} is not")
        if not _SECRET.fullmatch(reference):  # not repeated: it may be the key itself
            raise ValueError(f"for {name} the place of the key, SECRET/KEY such as xprompt-keys/hf-token")


def _words(value: tuple[str, ...]) -> None:
    for word in value:
        if not _WORD.fullmatch(word):
            raise ValueError(f"words without spaces and signs that a shell reads, which {word!r} is not")


_name = _matching(_SUBDOMAIN, "a name of Kubernetes: lower-case letters, digits, - and .")
_image = _matching(_IMAGE, "the name of an image, such as registry.example.org/xprompt:cuda")
_label = _matching(_LABEL, "lower-case letters, digits and -, a letter first, at most 30 characters", 30)
_quantity = _matching(_QUANTITY, "an amount such as 4, 500m, 64Gi or 2Ti")


@dataclass(frozen=True, kw_only=True)
class Image:
    """The container's images, by the names under which a registry has them."""

    cpu: str = value(_image)
    cuda: str = value(_image)
    pull_secret: str | None = value(_name, None)


@dataclass(frozen=True, kw_only=True)
class NewClaim:
    """A claim that is to be made."""

    size: str = value(_quantity)
    storage_class: str | None = value(_name, None, key="class")


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A disk that all pods share."""

    claim: str = value(_name)
    mount: str = value(_absolute)
    create: NewClaim | None = None


@dataclass(frozen=True, kw_only=True)
class Toleration:
    """A taint that pods put up with, in Kubernetes' words."""

    key: str
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A pod's size, and the nodes that it may be on."""

    cpus: str = value(_quantity)
    memory: str = value(_quantity)
    node_selector: Mapping[str, str] = value(default={})
    tolerations: tuple[Toleration, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Group(Placed):
    """Workers of one kind, as many as the autoscaler wants between two bounds."""

    name: str = value(_label)
    min: int = value(_at_least(0))
    max: int = value(_at_least(1))
    gpus: int = value(_at_least(0), 0)
    gpu_gib: int | None = value(_at_least(1), None)
    spot: SPOT | None = None


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The data engine's run, and the Ray cluster that it has."""

    command: tuple[str, ...] = value(_words)
    head: Placed
    groups: tuple[Group, ...]
    recipe: str | None = None
    retries: int = value(_at_least(0), 3)
    max_hours: int = value(_at_least(1), 168)
    keep_s: int = value(_at_least(0), 3_600)
    grace_s: int = value(_at_least(10), 60)
    auth: Literal["token", "disabled"] = "token"
    idle_s: int = value(_at_least(0), 300)


@dataclass(frozen=True, kw_only=True)
class Train(Placed):
    """The trainer's run over nodes."""

    nodes: int = value(_at_least(1))
    gpus: int = value(_at_least(0))
    shm: str = value(_quantity)
    command: tuple[str, ...] = value(_words)
    restarts: int = value(_at_least(0), 3)
    retries: int = value(_at_least(0), 10)
    wait_s: int = value(_at_least(60), 3_600)
    grace_s: int = value(_at_least(30), 900)


@dataclass(frozen=True, kw_only=True)
class Values:
    """All that manifests are rendered from. values.yaml explains each key."""

    name: str = value(_label)
    image: Image
    namespace: str | None = value(_name, None)
    secrets: Mapping[str, str] = value(_secrets, {})
    env: Mapping[str, str] = value(_variables, {})
    service_account: str | None = value(_name, None)
    volume: Volume | None = None
    engine: Engine | None = None
    train: Train | None = None
    folder: Path = field(metadata={"given": True})
    """The folder of the file, which engine.recipe is looked for in."""


def read_values(path: Path) -> Values:
    """The values of a file. Raises ValueError, one line that names the file and the key, for one that is wrong."""
    values = read_yaml(path)
    try:
        return _checked(record(Values, values, folder=path.parent))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


STARTED = ("shards", "recipe", "tokens", "retry")
"""The commands of `xprompt` that run on a Ray cluster."""

_SHARED = ("--out", "--data", "--data-root", "--models", "--recipe", "--model", "--guard")
"""Options that name what all pods have to see."""

_NAMES = ("hub", "tiny")
"""Of MODELS: what is no place."""


def _checked(values: Values) -> Values:
    """The same values, when what they say together can be rendered; else ValueError."""
    if train := values.train:
        if not values.volume:
            raise ValueError("train needs volume: checkpoints are on a disk that all pods share")
        _check_places("train.command", train.command, values, buckets=False)
    if engine := values.engine:
        _check_engine(engine, values)
    if not engine and not train:
        raise ValueError("there is neither engine nor train: nothing to render")
    return values


def _check_engine(engine: Engine, values: Values) -> None:
    if not engine.command or engine.command[0] not in STARTED:
        raise ValueError(f"engine.command: it begins with one of {', '.join(STARTED)}")
    if engine.recipe is not None:
        if engine.command[0] != "recipe" or "--recipe" in engine.command:
            raise ValueError("engine.recipe is for the command recipe, and gives it --recipe")
        if not (values.folder / engine.recipe).is_file():
            raise ValueError(f"engine.recipe: there is no file {values.folder / engine.recipe}")
    names = [group.name for group in engine.groups]
    if not names or len(set(names)) < len(names):
        raise ValueError("engine.groups: it takes at least one group, and each name once")
    for place, group in enumerate(engine.groups):
        if group.max < group.min:
            raise ValueError(f"engine.groups[{place}].max: {group.max} is wrong: it takes at least min, {group.min}")
        if bool(group.gpus) != bool(group.gpu_gib):
            raise ValueError(f"engine.groups[{place}].gpu_gib: it is there where gpus is above 0, and only there")
    if not any(group.min for group in engine.groups):
        raise ValueError("engine.groups: one group at least has min above 0, or the run begins with nothing to run on")
    _check_places("engine.command", engine.command, values, buckets=True)


def _check_places(at: str, command: tuple[str, ...], values: Values, *, buckets: bool) -> None:
    """Refuse places that pods do not share."""
    mount = values.volume.mount if values.volume else None
    ways = [*([f"a path below {mount}"] if mount else []), *(["a URL such as s3://bucket/folder"] if buckets else [])]
    given = dict(_options(command))
    if "--out" not in given:
        raise ValueError(f"{at}: it takes --out with {' or '.join(ways)}")
    for option, place in given.items():
        if option not in _SHARED or place in _NAMES:
            continue
        below = mount and (place == mount or place.startswith(f"{mount}/"))
        if not below and not (buckets and "://" in place):
            raise ValueError(f"{at}: {option} {place} is not on what pods share: it takes {' or '.join(ways)}")


def _options(command: tuple[str, ...]) -> list[tuple[str, str]]:
    """The options of a command line with the word behind each, whether by a space or by =."""
    found = []
    for word, behind in zip(command, (*command[1:], ""), strict=True):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            found.append((name, value if equals else behind))
    return found
