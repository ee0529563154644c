"""A dataset repository on the Hugging Face hub, by huggingface_hub: what is there, and how files get there.

What the hub refuses is one line with the way out. The token is huggingface_hub's to find, in HF_TOKEN or where
`hf auth login` puts it; here it is only looked for in what a server says, so that no message repeats it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manifests.schema import in_a_line

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
_WHY_CHARS = 300  # of what a server says

_WAYS_OUT = {
    401: "the token is not valid: set HF_TOKEN, or run hf auth login",
    402: "the account's plan does not allow it: see its storage and billing",
    403: "the token may not write there: give it write access to this namespace, or name another",
    404: "it is not there, or the token may not see it: look at the name, and at whose token it is",
    409: "somebody else has changed it at the same time: run the same command again",
    413: "a file is larger than the hub takes",
    429: "too many requests for now: wait a while, then run the same command again; what is uploaded stays",
}


class HubError(Exception):
    """What a hub refuses, or that it cannot be reached. The message is one line with the way out."""


@dataclass(frozen=True, kw_only=True)
class There:
    """What a repository holds."""

    private: bool
    has_branch: bool
    files: Mapping[str, str]
    """Each file with its hash: the sha256 of a large one, the git hash of another."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that is to be uploaded: a path on this machine, or bytes; with its sha256."""

    name: str
    content: str | bytes
    sha256: bytes


class Repository:
    """A dataset repository by its name, NAMESPACE/NAME, and a branch of it.

    All methods raise HubError. Raises ValueError for what cannot be a name.
    """

    def __init__(self, name: str, branch: str) -> None:
        if not _REPOSITORY.fullmatch(name) or "--" in name or ".." in name or name.endswith((".git", ".ipynb")):
            raise ValueError(f"{name!r} is no repository's name: give NAMESPACE/NAME, such as alice/derain")
        if not branch or branch.startswith(("-", "/")) or re.search(r"[\s~^:?*\[\\]|\.\.|//|@\{", branch):
            raise ValueError(f"--revision {branch!r} is no branch's name")
        self.name, self.branch = name, branch
        self._api = _api()

    def look(self) -> There | None:
        """What is there; None if there is no such repository, or none that the token may see."""
        from huggingface_hub import RepoFile, get_token
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        with _told(self.name):
            try:
                private = bool(self._api.repo_info(self.name, repo_type="dataset").private)
            except RepositoryNotFoundError as error:
                if error.response.status_code == 404 or not get_token():  # a stranger is told 401 of what is not there
                    return None
                raise
            try:
                found = self._api.list_repo_tree(self.name, recursive=True, revision=self.branch, repo_type="dataset")
                files = {
                    file.path: file.lfs.sha256 if file.lfs else file.blob_id
                    for file in found
                    if isinstance(file, RepoFile)
                }
            except RevisionNotFoundError:
                return There(private=private, has_branch=False, files={})
        return There(private=private, has_branch=True, files=files)

    def refuse_without_token(self) -> None:
        """Raises HubError if there is no token to write with."""
        from huggingface_hub import get_token

        if not get_token():
            raise HubError("there is no token to push with: set HF_TOKEN, or run hf auth login")

    def make(self, *, private: bool) -> None:
        """Make the repository; it may be there already."""
        with _told(self.name):
            self._api.create_repo(self.name, repo_type="dataset", private=private or None, exist_ok=True)

    def make_branch(self) -> None:
        """Make the branch, of what the main branch holds; it may be there already."""
        with _told(f"{self.name}, branch {self.branch}"):
            self._api.create_branch(self.name, branch=self.branch, repo_type="dataset", exist_ok=True)

    def commit(self, message: str, uploads: Sequence[Upload], deleted: Sequence[str]) -> None:
        """Upload files, those that the hub does not have yet, and commit them together, with deletions."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        def addition(upload: Upload) -> CommitOperationAdd:
            made = CommitOperationAdd(path_in_repo=upload.name, path_or_fileobj=upload.content)
            made.upload_info.sha256 = upload.sha256  # known: the file is not read for it once more
            return made

        with _told(self.name):
            self._api.create_commit(
                self.name,
                [*(CommitOperationDelete(name, is_folder=False) for name in deleted), *map(addition, uploads)],
                commit_message=message,
                repo_type="dataset",
                revision=self.branch,
            )

    def page(self) -> str:
        """The repository's address."""
        return f"{self._api.endpoint}/datasets/{self.name}" + ("" if self.branch == "main" else f"/tree/{self.branch}")


def git_hash(data: bytes) -> str:
    """The hash by which git knows a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _api() -> HfApi:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub import logging as hub_logging
    except ModuleNotFoundError as error:
        raise ImportError(
            f"this needs the package {error.name}: install the extra, pip install 'xprompt-data-engine[hub]'"
        ) from None
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its warnings have addresses with signatures in them
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Raises HubError for what the hub or the network refuses while the block runs; `what` is asked for."""
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        raise HubError(f"{what}: HF_HUB_OFFLINE is set, which forbids to reach the hub: unset it") from None
    except Exception as error:
        if isinstance(error, ValueError) and not isinstance(error, HfHubHTTPError):  # as of a card that it refuses
            raise HubError(f"{what}: {in_a_line(_without_token(str(error)), _WHY_CHARS)}") from None
        cause: BaseException | None = error
        while cause and not isinstance(cause, HfHubHTTPError | TransportError):
            cause = cause.__cause__  # uploads are wrapped by their threads
        if isinstance(cause, HfHubHTTPError):
            raise HubError(f"{what}: {_refused(cause)}") from None
        if cause:
            address = os.environ.get("HF_ENDPOINT") or "the hub"
            raise HubError(
                f"{what}: {address} cannot be reached ({in_a_line(cause, _WHY_CHARS)}): look at the network, then run "
                "the same command again; what is uploaded stays"
            ) from None
        raise


def _refused(error: Any) -> str:
    status = error.response.status_code
    said = in_a_line(_without_token(error.server_message or error.response.reason_phrase or ""), _WHY_CHARS)
    way_out = _WAYS_OUT.get(status, "the hub is at fault: run the same command again later; what is uploaded stays")
    if status == 400:
        way_out = "the hub does not take what it was sent"
    return f"the hub answers {status} ({said}): {way_out}"


def _without_token(said: str) -> str:
    from huggingface_hub import get_token

    token = get_token()
    return said.replace(token, "(the token)") if token else said
