"""`xprompt push DATASET NAMESPACE/NAME`: uploads a finished dataset, and goes on where a push was stopped.

Files go in commits of some hundred, and what is committed is told by the hub's own listing; a file that was uploaded
and not yet committed, the hub's storage knows by its hash. So a push that goes on sends nothing twice. dataset.json and
the card come with the last commit, and a dataset.json of other data goes with the first: as long as a push is not
through, the repository holds an unfinished dataset, and never two mixed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from manifests.dataset import Dataset
from manifests.printing import say
from manifests.publish.files import FOLDERS, File, Publication, intact, publication
from manifests.publish.hub import HubError, Repository, There, Upload, git_hash

FILES_A_COMMIT = 100
"""What the hub recommends at the most: https://huggingface.co/docs/hub/repositories-recommendations."""

_DESCRIPTION = "dataset.json"
_OF_ANY = frozenset([".gitattributes", ".gitignore", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"])
"""Files of a repository that holds no data yet."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What is to be done to a repository."""

    files: tuple[File, ...]
    """What is new or other there, in the order in which it is uploaded."""
    last: tuple[File, ...]
    """What of the last commit is new or other."""
    replaced: frozenset[str]
    """The names of those that are there with another content."""
    deleted: tuple[str, ...]
    """What is there, in a folder of the dataset, and is none of it."""

    @property
    def all(self) -> tuple[File, ...]:
        return (*self.files, *self.last)


def changes(publication: Publication, there: There | None) -> Changes:
    """What is to be done, so that a repository holds a dataset. Raises ValueError if it holds other data."""
    held = dict(there.files) if there else {}
    foreign = sorted(held.keys() - _OF_ANY)
    if foreign and "plan.parquet" not in held:
        raise ValueError(
            f"the repository holds other data ({foreign[0]} and {len(foreign) - 1:,} more files): give another NAME"
        )
    ours = {file.name for file in publication.all}
    files = tuple(file for file in publication.files if not _is_there(publication.dataset, file, held))
    last = tuple(file for file in publication.last if not _is_there(publication.dataset, file, held))
    return Changes(
        files=files,
        last=last,
        replaced=frozenset(file.name for file in (*files, *last) if file.name in held),
        deleted=tuple(sorted(name for name in held if name.partition("/")[0] in FOLDERS and name not in ours)),
    )


def _is_there(dataset: Dataset, file: File, held: dict[str, str]) -> bool:
    """Whether the hub holds a file, by its sha256, or by git's hash if the hub takes it for a small one."""
    known = held.get(file.name)
    if known is None or len(known) == len(file.sha256):
        return known == file.sha256
    return known == git_hash(file.data if file.data is not None else dataset.store.read(file.name))


def push(publication: Publication, repository: Repository, *, private: bool, tell: Callable[[str], None]) -> Changes:
    """Bring a repository to what a dataset is; what was done. `tell` is given a line after each commit.

    Raises HubError for what the hub refuses, DatasetError for a shard that is not what was committed, and ValueError
    for a repository that holds other data, or is public where a private one is asked for.
    """
    repository.refuse_without_token()
    there = repository.look()
    if there and private and not there.private:
        raise ValueError(
            f"{repository.name} is there and public: make it private in its settings, or leave out --private"
        )
    todo = changes(publication, there)
    if there is None:
        repository.make(private=private)
    if repository.branch != "main" and not (there and there.has_branch):
        repository.make_branch()
        todo = changes(publication, repository.look())
    _upload(publication, repository, todo, tell)
    return todo


def _upload(publication: Publication, repository: Repository, todo: Changes, tell: Callable[[str], None]) -> None:
    batches = [todo.files[start : start + FILES_A_COMMIT] for start in range(0, len(todo.files), FILES_A_COMMIT)]
    if batches and len(batches[-1]) + len(todo.last) <= FILES_A_COMMIT:
        batches[-1] += todo.last
    elif todo.last or todo.deleted:
        batches.append(todo.last)
    sent = 0
    for number, batch in enumerate(batches, 1):
        deleted = [*todo.deleted] if number == len(batches) else []
        if number == 1 and len(batches) > 1 and _DESCRIPTION in todo.replaced:
            deleted = [_DESCRIPTION]
        part = f", part {number} of {len(batches)}" if len(batches) > 1 else ""
        with _readable(publication.dataset, batch) as uploads:
            repository.commit(f"{publication.plan.task} {publication.plan.fingerprint[:12]}{part}", uploads, deleted)
        sent += sum(file.size_bytes for file in batch)
        tell(f"{number:,} of {len(batches):,} commits made, {_mib(sent)} of {_mib(_bytes(todo.all))}")


@contextmanager
def _readable(dataset: Dataset, files: Sequence[File]) -> Iterator[list[Upload]]:
    """The files on this machine, each found to be what it should be; those of a bucket are copied for as long."""
    with tempfile.TemporaryDirectory(prefix="xprompt-push-") as folder:
        uploads = []
        for number, file in enumerate(files):
            sha256 = intact(dataset, file)
            content: str | bytes
            if file.data is not None:
                content = file.data
            elif dataset.store.is_local:
                content = dataset.store.path(file.name)
            else:
                content = str(Path(folder) / str(number))
                dataset.store.fs.get_file(dataset.store.path(file.name), content)
            uploads.append(Upload(name=file.name, content=content, sha256=sha256))
        yield uploads


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt push") -> int:
    """Push a dataset, or say what that would do; `prog` heads usage and errors.

    Returns the exit status: 0, 1 with one line for what the hub refuses, 2 with one if it cannot be as asked.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=prog,
        description="Upload a finished dataset to the Hugging Face hub; the same command goes on if stopped.",
    )
    parser.add_argument("dataset", help="a dataset directory, local or an fsspec URL")
    parser.add_argument("repository", metavar="NAMESPACE/NAME", help="the dataset repository, made if it is not there")
    parser.add_argument("--dry-run", action="store_true", help="say what would be uploaded and changed, and do nothing")
    parser.add_argument("--private", action="store_true", help="make a private repository")
    parser.add_argument("--revision", default="main", help="the branch to push to, made if it is not there (main)")
    parser.add_argument("--verify", action="store_true", help="check all that xprompt verify does before")
    options = parser.parse_args(arguments)
    try:
        repository = Repository(options.repository, options.revision)
        if options.dry_run:
            return _dry_run(options, repository)
        if not sys.stderr.isatty():
            from huggingface_hub.utils.tqdm import disable_progress_bars

            disable_progress_bars()
        repository.refuse_without_token()  # before a large dataset is looked through
        what = publication(Dataset(options.dataset), options.repository, whole=options.verify)
        done = push(what, repository, private=options.private, tell=say)
        say(f"{repository.page()}: {_told(done, what)}")
        return 0
    except HubError as error:
        say(f"{prog}: {error}", error=True)
        return 1
    except (ValueError, OSError, ImportError) as error:
        say(f"{prog}: {' '.join(str(error).split())}", error=True)
        return 2


def _dry_run(options: argparse.Namespace, repository: Repository) -> int:
    what = publication(Dataset(options.dataset), options.repository, whole=options.verify)
    there, state = None, f"would be made, {'private' if options.private else 'public'}"
    try:
        if there := repository.look():
            state = f"is there, {'private' if there.private else 'public'}"
            state += "" if there.has_branch else f"; its branch {repository.branch} would be made"
    except HubError as error:
        state = f"what is there is not known: {error}"
    todo = changes(what, there)
    say(f"{what.plan.task}, fingerprint {what.plan.fingerprint} -> {repository.page()}: {state}")
    for file in todo.all:
        say(f"{'replace' if file.name in todo.replaced else 'upload'} {file.name} {file.size_bytes:,} bytes")
    for name in todo.deleted:
        say(f"delete {name}")
    if what.left:
        say(f"stays here: {', '.join(what.left)}")
    say("the card's metadata:")
    for line in what.header.splitlines():
        say(f"  {line}")
    say(f"would have {_told(todo, what)}")
    return 0


def _told(todo: Changes, publication: Publication) -> str:
    same = len(publication.all) - len(todo.all)
    deleted = f", {len(todo.deleted):,} deleted" if todo.deleted else ""
    return f"{len(todo.all):,} files uploaded, {_mib(_bytes(todo.all))}; {same:,} there already{deleted}"


def _bytes(files: Sequence[File]) -> int:
    return sum(file.size_bytes for file in files)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
