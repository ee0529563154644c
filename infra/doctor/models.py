"""MODELS: whether what the task loads is there; of MODELS=hub whether the rest may be, and can be, downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from infra.doctor.asked import Asked
from infra.doctor.finding import Finding, fails, ok, skipped
from infra.doctor.machine import nearest
from manifests.printing import size
from operators.base import StopRun
from operators.models.checkpoints import TINY
from operators.models.presence import Presence
from operators.models.table import CHECKPOINTS, Checkpoint

_TOKEN = "set HF_TOKEN, or run hf auth login"


def here(asked: Asked) -> Iterator[Finding]:
    """What MODELS has of the checkpoints that the task loads. One line for each that is not there."""
    models = asked.values["models"]
    if not asked.roles:
        yield ok("MODELS", f"{asked.name} loads none")
        return
    if models is None:
        roles = ", ".join(asked.roles)
        yield fails(
            "MODELS",
            f"not given, and {asked.name} loads {roles}",
            "--models with a folder that has them, hub to download them, or tiny for random ones to try with",
        )
        return
    try:
        presences = asked.presences
    except (ValueError, ImportError) as error:
        yield fails("MODELS", " ".join(str(error).split()), "as it says")
        return
    lacking = [one for one in presences if one.state != "present"]
    if models == "tiny" and lacking:
        if (TINY / ".made").exists():
            yield fails("MODELS", _told(lacking[0]), f"remove {TINY}: xprompt shards writes them anew")
        else:
            yield ok("MODELS", "tiny: xprompt shards writes the small random ones when it starts")
        return
    for one in lacking:
        if models != "hub" or one.state == "wrong" or not CHECKPOINTS[one.role].hub_id:
            yield fails("MODELS", _told(one), CHECKPOINTS[one.role].obtain)
    there = len(presences) - len(lacking)
    if there or not lacking:
        yield ok("MODELS", f"{there} of {len(presences)} that {asked.name} loads are in {models}")


def hub(asked: Asked) -> Iterator[Finding]:
    """Whether the token may download what is not there yet, and whether the disk has room for it."""
    try:
        missing = [CHECKPOINTS[one.role] for one in asked.presences if one.state == "missing"]
    except (ValueError, ImportError):  # which is said of MODELS
        return
    missing = [one for one in missing if one.hub_id]
    if not missing:
        yield ok("hub", "nothing is to be downloaded")
        return
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        roles = ", ".join(one.role for one in missing)
        yield fails("hub", f"HF_HUB_OFFLINE forbids to download {roles}", "unset it, or download them before")
        return
    from httpx2 import TransportError
    from huggingface_hub.constants import HF_HUB_CACHE

    sizes: list[int] = []
    try:
        for one in missing:
            yield _asked_for(one, sizes)
    except TransportError as error:
        text = f"{os.environ.get('HF_ENDPOINT') or 'huggingface.co'} cannot be reached ({type(error).__name__})"
        yield fails("hub", text, "see to the network and its proxy (HTTPS_PROXY), or download on another machine")

    folder = nearest(Path(HF_HUB_CACHE))
    free = shutil.disk_usage(folder).free
    text = f"{size(sum(sizes))} to be downloaded into {HF_HUB_CACHE}, {size(free)} free"
    if len(sizes) < len(missing):
        yield skipped(
            "hub's disk",
            f"{size(free)} free in {folder}; of {len(missing) - len(sizes)} checkpoints the size is not known",
        )
    elif sum(sizes) > free:
        yield fails("hub's disk", text, "free some, or set HF_HOME to a folder on a larger disk")
    else:
        yield ok("hub's disk", text)


def _asked_for(checkpoint: Checkpoint, sizes: list[int]) -> Finding:
    """Whether the hub gives a checkpoint to the token. If so, the bytes of its files are added to `sizes`.

    Raises TransportError of httpx2 if the hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils._paths import filter_repo_objects

    api, what = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None), f"{checkpoint.role} ({checkpoint.hub_id})"
    page = f"https://huggingface.co/{checkpoint.hub_id}"
    try:
        api.auth_check(checkpoint.hub_id)
        info = api.model_info(checkpoint.hub_id, revision=checkpoint.revision, files_metadata=True)
    except GatedRepoError:
        if get_token():
            text = f"{what} is gated, and the token's account has not been given access"
            return fails(
                "hub",
                text,
                f"accept its licence at {page} with that account (a token of fine grain also has "
                "to allow gated repositories)",
            )
        return fails("hub", f"{what} is gated, and there is no token", f"accept its licence at {page}, then {_TOKEN}")
    except RevisionNotFoundError:
        return fails("hub", f"{what} has no revision {checkpoint.revision} any more", f"report it; look at {page}")
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401 and get_token():
            return fails("hub", f"the hub does not take the token (asked for {what})", f"it may have ended: {_TOKEN}")
        if isinstance(error, RepositoryNotFoundError):
            return fails("hub", f"{what} is not there, or this token may not see it", f"look at {page}; {_TOKEN}")
        return fails("hub", f"{what}: the hub answers with status {status}", "try again later")
    found = list[Any](info.siblings or [])
    patterns = list(checkpoint.files) or None
    sizes.append(sum(one.size or 0 for one in filter_repo_objects(found, allow_patterns=patterns, key=_name)))
    return ok("hub", f"{what} may be downloaded, {size(sizes[-1])}")


def _name(sibling: Any) -> str:
    return str(sibling.rfilename)


def vlm(asked: Asked) -> Iterator[Finding]:
    """Whether the server of the vision-language model answers, and takes the key."""
    try:
        server = asked.vlm
        assert server
        server.check()
    except StopRun as error:
        yield fails("VLM", str(error), "set OPENAI_API_KEY to a key of that server")
    except ConnectionError as error:
        yield fails("VLM", str(error), "start that server, or correct VLM")
    except (ValueError, ImportError) as error:
        yield fails("VLM", " ".join(str(error).split()), "as it says")
    else:
        yield ok("VLM", f"{server.url_or_folder} answers, and takes the key")


def data(asked: Asked) -> Iterator[Finding]:
    """What DATA is taken for."""
    try:
        source = asked.source
    except (ValueError, ImportError, OSError) as error:
        yield fails("DATA", " ".join(str(error).split())[:600], "point --data at one of these")
        return
    place = asked.values["data"] or "the bundled input"
    yield ok("DATA", f"{place}: {source.seen or source.layout}")


def _told(one: Presence) -> str:
    return f"{one.role} is {one.state}{f': {one.why}' if one.why else ''} ({one.folder})".replace(" ()", "")


def folders(presences: Sequence[Presence]) -> list[str]:
    """The folders of the checkpoints that are there."""
    return [one.folder for one in presences if one.state == "present"]
