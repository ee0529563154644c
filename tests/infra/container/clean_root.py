"""A clean Debian, made by mmdebstrap, in which the steps of a Containerfile are run as a builder of images runs them.

Each command has mount and process namespaces of its own, so nothing of it is left when it ends. Packages are reached as
on the host: its apt sources, its pip configuration, its proxy and its certificates are lent to the commands, and are no
part of what is built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.commands import ROOT
from tests.infra.container.steps import Step, context_files, substituted
from tests.repository import tracked_files

_STEP_S = 1_800.0
_NEEDED_BYTES = 20 * 2**30  # measured: 9 GB with PyTorch's build for CUDA, and what uv unpacks meanwhile
_MIRROR = "http://deb.debian.org/debian"
_PROXY = re.compile(r"(https?|no|all)_proxy", re.IGNORECASE)
_CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
_LENT = "/run/lent"

# Runs in namespaces of its own: $1 is the root, $2 uid:gid, $3 the lent folders as pairs FROM:TO; the command follows.
_ENTER = """
set -eu
root=$1 user=$2 lent=$3
shift 3
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for name in resolv.conf hosts; do touch "$root/etc/$name"; mount --bind "/etc/$name" "$root/etc/$name"; done
mkdir -p "$root/run/lent"
mount -t tmpfs tmpfs "$root/run/lent"
for pair in $lent; do
  from=${pair%%:*} to=$root${pair#*:}
  if [ -d "$from" ]; then mkdir -p "$to"; else mkdir -p "${to%/*}"; touch "$to"; fi
  mount --bind -o ro "$from" "$to"
done
exec chroot --userspec="$user" "$root" "$@"
"""


def lacking() -> str | None:
    """Why no clean root can be made here; None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a clean root is made by root alone, on Linux"
    for name in ("mmdebstrap", "unshare", "chroot", "ip"):
        if not shutil.which(name):
            return f"{name} is not installed"
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode:
        return "this machine allows no namespaces"
    if shutil.disk_usage(tempfile.gettempdir()).free < _NEEDED_BYTES:
        return f"{tempfile.gettempdir()} has less than {_NEEDED_BYTES // 2**30} GiB free"
    if not reachable(f"{_MIRROR}/dists/bookworm/InRelease"):
        return f"{_MIRROR} is out of reach"
    return None


def reachable(url: str) -> bool:
    """Whether a URL answers within ten seconds."""
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except OSError:
        return False


@dataclass
class CleanRoot:
    """A Debian in a folder, and what the steps so far have set."""

    folder: Path
    arguments: dict[str, str] = field(default_factory=dict)
    """Values that a builder is given by --build-arg."""
    environment: dict[str, str] = field(default_factory=dict)
    build: dict[str, str] = field(default_factory=dict)
    """ARGs, which commands see while they build."""
    labels: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    workdir: str = "/"
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def bootstrap(self, image: str) -> None:
        """Fill the folder with what the image `debian:SUITE-slim` has. Raises ValueError for another image."""
        match = re.fullmatch(r"debian:(\w+)-slim", image)
        if not match:
            raise ValueError(f"no clean root is like {image}")
        here = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
        sources = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
        sources = [path for path in sources if path.is_file() and path.read_text().strip()]
        of_host = [str(path) for path in sources] if here and here[1] == match[1] else []
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", match[1], str(self.folder)]
        done = subprocess.run([*command, *(of_host or [_MIRROR])], capture_output=True, text=True, timeout=_STEP_S)
        assert done.returncode == 0, done.stderr
        self.environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def take(self, step: Step) -> None:
        """Carry out one step. An assertion fails, with what was printed, if its command does."""
        known = {**self.build, **self.environment}
        if step.word == "RUN":
            done = self.run([*self.shell, step.text], build=True)
            assert done.returncode == 0, f"RUN {step.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        elif step.word == "COPY":
            *names, to = step.words
            self._copy(names, substituted(to, known))
        elif step.word == "ENV":
            self.environment |= {name: substituted(value, known) for name, value in step.pairs.items()}
        elif step.word == "ARG":
            self.build |= {name: self.arguments.get(name, value) for name, value in step.pairs.items()}
        elif step.word == "LABEL":
            self.labels |= {name: substituted(value, known) for name, value in step.pairs.items()}
        elif step.word == "SHELL":
            self.shell = step.words
        elif step.word == "USER":
            self.user = substituted(step.text, known)
        elif step.word == "WORKDIR":
            self.workdir = substituted(step.text, known)
            (self.folder / self.workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step.word == "ENTRYPOINT":
            self.entrypoint = step.words
        elif step.word == "CMD":
            self.command = step.words

    def run(
        self,
        command: Sequence[str],
        *,
        build: bool = False,
        alone: bool = False,
        env: Mapping[str, str] | None = None,
        lent: Mapping[str, str] | None = None,
        timeout_s: float = _STEP_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the user, in the folder and with the variables that the steps have set.

        With `build` it sees the ARGs and how the host reaches packages. `lent` are files and folders of the host, by
        where the command sees them.
        `alone` is in a network of its own, in which all ports are free and nothing else can be reached.
        """
        host_env, host_lent = _host() if build else ({}, {})
        environment = {"HOME": self._home(), **self.environment, **(self.build if build else {}), **host_env}
        environment |= env or {}
        pairs = " ".join(f"{here}:{there}" for there, here in {**host_lent, **(lent or {})}.items())
        inside = ["/usr/bin/env", "-i", f"--chdir={self.workdir}", *(f"{k}={v}" for k, v in environment.items())]
        spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        spaces += ["--net"] if alone else []
        enter = [
            "sh",
            "-c",
            ("ip link set lo up\n" if alone else "") + _ENTER,
            "enter",
            str(self.folder),
            self.user,
            pairs,
            *inside,
            *command,
        ]
        return subprocess.run([*spaces, *enter], capture_output=True, text=True, timeout=timeout_s)

    def _home(self) -> str:
        uid = self.user.partition(":")[0]
        passwd = (self.folder / "etc/passwd").read_text().splitlines()
        return next(line.split(":")[5] for line in passwd if line.split(":")[2] == uid)

    def _copy(self, names: Sequence[str], to: str) -> None:
        ignore = (ROOT / ".dockerignore").read_text().splitlines()
        lines = [line for line in ignore if line and not line.startswith("#")]
        target = self.folder / os.path.join(self.workdir, to).lstrip("/")
        files = context_files(lines, tracked_files())
        for name in files if list(names) == ["."] else names:
            assert name in files, f"COPY {name}: .dockerignore leaves it out"
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)

    def remove(self) -> None:
        """Remove all of it. Nothing is mounted in it: mounts end with the commands that they were made for."""
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.folder)], check=True)


def _host() -> tuple[dict[str, str], dict[str, str]]:
    """How this machine reaches packages: environment variables, and files and folders by where they are lent."""
    environment = {name: value for name, value in os.environ.items() if _PROXY.fullmatch(name)}
    lent: dict[str, str] = {}
    listed = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(listed, capture_output=True, text=True, cwd=tempfile.gettempdir(), check=True).stdout
    settings = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", said, re.MULTILINE))
    bundle = next((os.environ[name] for name in _CERTIFICATES if os.environ.get(name)), settings.get("cert"))
    if bundle:
        lent[f"{_LENT}/certificates.crt"] = bundle
        environment |= dict.fromkeys(_CERTIFICATES, f"{_LENT}/certificates.crt")
    if index := settings.get("index-url"):
        environment |= {"PIP_INDEX_URL": index, "UV_DEFAULT_INDEX": index}
    if more := settings.get("extra-index-url", "").split():
        for url in more:
            if urlsplit(url).scheme == "file":  # its pages name files beside it
                folder = str(Path(urlsplit(url).path).parent)
                lent[folder] = folder
        # As pip takes it: the versions of all indexes together. Their hashes are checked, wherever they come from.
        environment |= {"PIP_EXTRA_INDEX_URL": " ".join(more), "UV_INDEX": " ".join(more)}
        environment |= {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    return environment, lent
