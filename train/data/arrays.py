"""What a run needs of its datasets' Parquet parts, as arrays in files: built once, mapped by all who train on them.

    FOLDER/3f2a.../corpus.json          the datasets, their shards, and what their files were when this was built
                   0.keys.npy           of each pair of dataset 0 its key (2 x uint64)
                   0.groups.npy         and a hash of its group's name (uint64)
                   0.pair.npy           of each example its pair (int32)
                   0.code.npy           and its direction and kind (int8)
                   0.contexts.npy       where each example's contexts begin, and last their number (int64)
                   0.context.npy        of each context its pair (int32)
                   0.context_dataset.npy    and the dataset that this pair is of (int16)

Parts are read one by one, and what was read of one is in the files before the next, so that memory does not grow with
the dataset: it holds 20 bytes a pair, to find contexts by key. A folder appears whole, under a name that its datasets'
files decide; it may be removed when nobody trains.
"""

from __future__ import annotations

import binascii
import fcntl
import hashlib
import io
import os
import shutil
import socket
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from manifests.dataset import Dataset
from manifests.parquet import ParquetFile
from manifests.read.places import folder_of, url_at
from manifests.read.shards import verify_hint
from manifests.records import parse_json
from manifests.remote import is_outage
from manifests.schema import MANIFEST, DatasetError, canonical_json, in_a_line
from manifests.tables import check_columns
from manifests.tokens import FOLDER
from manifests.versions import read_manifest, schema_of
from operators.shared.palettes import UNSEEN_PALETTE
from train.data.shuffle import words
from train.data.tokens import read_commit

EXAMPLE_KINDS = tuple((direction, kind) for direction in ("forward", "reverse") for kind in ("generate", "describe"))
"""The direction and the kind of an example, by its code."""

_FORMAT = 1
"""Of the folder; one of another format is not found again."""

_DESCRIPTION, _LOCK = "corpus.json", "building"
_DIRECTIONS, _KINDS = pa.array(["forward", "reverse"]), pa.array(["generate", "describe"])
"""In the order in which EXAMPLE_KINDS has them."""
_COLUMNS = ["pair", "direction", "kind", "contexts", "source_group"]
_PATHS = [
    *("pair", "direction", "kind", "source_group"),
    *(f"contexts.list.element.{of}" for of in ("pair", "dataset")),
]
"""The same as the writer lays them out, without the contexts' scores, which are most of their bytes."""
_NEEDED = pa.schema([MANIFEST.field(name) for name in _COLUMNS])
_ROWS_AT_ONCE = 2**16
_CONTEXTS_AT_ONCE = 2**20
_FILES_AT_A_TIME = 16
"""Requests to a bucket, each of which takes tens of milliseconds whatever it is for."""
_KEY_CHARS = 32
_LOCAL_STATE = ("name", "size", "mtime", "ino")

Keys = NDArray[np.uint64]
"""Pairs' keys as numbers, both halves of the 32 digits: [n, 2]."""

_Read = TypeVar("_Read")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset as corpus.json describes it."""

    url: str
    task: str
    sampled_as: str
    shards: Sequence[str]
    pair_starts: Sequence[int]
    """The number of each shard's first pair, and last the number of pairs: [shards + 1]."""
    example_starts: Sequence[int]
    """The same of examples; empty for a dataset that only contexts come from."""
    fingerprint: str
    tokenizer: Mapping[str, Any]
    state: str
    """A hash of what its files were: names, sizes, times or a bucket's tags."""


def build(urls: Sequence[str], folder: str) -> Path:
    """The folder below `folder` with the arrays of the datasets at some URLs, built now if it is not there.

    Raises ValueError, with the way out, for datasets that have no tokens, are for evaluation, or are the same twice,
    and OSError if one cannot be read, or its arrays cannot be written.
    """
    plans = [_Begun.of(url) for url in urls]
    if len({begun.task for begun in plans}) < len(plans):
        raise ValueError(f"a task is there twice: {', '.join(begun.task for begun in plans)}")
    known = canonical_json([_FORMAT, *([folder_of(begun.dataset.url), begun.state] for begun in plans)])
    key = hashlib.sha256(known.encode()).hexdigest()[:16]
    built: Path | None = None
    try:
        for number in range(1_000):
            # Arrays that fit no more stay, since another process may have mapped them: contexts come from datasets
            # that the name does not tell, and those may have changed.
            final = Path(folder, f"{key}-{number}" if number else key)
            if _fits(final):
                return final
            if final.exists():
                continue
            built = built or _write(plans, Path(folder))
            try:
                built.rename(final)
                return final
            except OSError:  # another process may have been quicker
                if not final.exists():
                    raise
                if _fits(final):
                    return final
        raise ValueError(f"{folder} is full of old arrays, {key} ...: remove them")
    finally:
        if built is not None:
            shutil.rmtree(built, ignore_errors=True)


def described(folder: Path) -> list[Source]:
    """The datasets of a folder of arrays: those trained on, and behind them those that only contexts come from."""
    description = parse_json((folder / _DESCRIPTION).read_bytes())
    return [Source(**entry) for entry in description["datasets"]]


def mapped(folder: Path, number: int, column: str) -> NDArray[Any]:
    """A column of a dataset, whose pages are read when they are used, and shared by all who map them."""
    array: NDArray[Any] = np.load(folder / f"{number}.{column}.npy", mmap_mode="r", allow_pickle=False)
    return np.asarray(array)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Begun:
    """A dataset of which all units have tokens."""

    dataset: Dataset
    task: str
    sampled_as: str
    shards: Sequence[str]
    state: str

    @classmethod
    def of(cls, url: str) -> _Begun:
        dataset = Dataset(url)
        if not dataset.store.exists("plan.parquet"):
            raise ValueError(f"there is no dataset at {url}: `xprompt ls FOLDER` lists those of a folder")
        plan = dataset.plan()
        if plan.test_split:
            raise ValueError(f"{url} is of the split {plan.test_split}: it is evaluated on, and never trained on")
        if any(operator.get("palette") == UNSEEN_PALETTE for operator in plan.config.get("operators", ())):
            raise ValueError(f"{url} is drawn in the palette {UNSEEN_PALETTE}, which is never trained on")
        names = tuple(plan.name(unit) for unit in sorted(dataset.committed()))
        there = {name.removesuffix(".parquet") for name in dataset.store.names(FOLDER) if name.endswith(".parquet")}
        if not names or (missing := sum(name not in there for name in names)):
            left = f"{missing} of {len(names)} shards have no tokens" if names else "it has no shards"
            raise ValueError(f"{url}: {left}: run make tokens TASK={plan.task}")
        sampled_as = str(plan.config.get("task", plan.task))
        return cls(dataset=dataset, task=plan.task, sampled_as=sampled_as, shards=names, state=_state(dataset))


def _state(dataset: Dataset) -> str:
    """A hash of what the file system says of the files that arrays are made of: of three listings, no file is read."""
    store, entries = dataset.store, list[Any]()
    for folder, suffix in (("", "plan.parquet"), ("manifest", ".parquet"), (FOLDER, ".parquet")):
        store.fs.invalidate_cache(store.path(folder))
        for entry in store.fs.ls(store.path(folder).rstrip("/"), detail=True):
            name = entry["name"].rpartition("/")[2]
            if name.endswith(suffix):
                # Of a bucket everything counts: its tags and times have other names in each file system.
                kept = {key: entry[key] for key in _LOCAL_STATE if key in entry} if store.is_local else dict(entry)
                entries.append([folder, str(sorted((kept | {"name": name}).items()))])
    return hashlib.sha256(canonical_json(sorted(entries)).encode()).hexdigest()


def _fits(folder: Path) -> bool:
    """Whether there are arrays, made of what the files of all their datasets are now."""
    try:
        sources = described(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return all(_state(Dataset(source.url)) == source.state for source in sources)


def _write(trained: Sequence[_Begun], folder: Path) -> Path:
    """Write the arrays of some datasets into a new folder below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    mine = f".{socket.gethostname()}."
    for left in folder.glob(f"{mine}*.tmp"):  # by builds that were killed on this machine, which hold no lock any more
        with suppress(OSError), open(left / _LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    into = folder / f"{mine}{uuid.uuid4().hex}.tmp"
    into.mkdir()
    try:
        with open(into / _LOCK, "wb") as lock:
            with suppress(OSError):  # not all network file systems have locks; what is killed there stays
                fcntl.flock(lock, fcntl.LOCK_EX)
            sources = _Build(into).write(trained)
            (into / _LOCK).unlink()
            (into / _DESCRIPTION).write_text(canonical_json({"datasets": [vars(source) for source in sources]}))
            for path in into.iterdir():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise
    return into


class _Build:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begun: list[_Begun] = []
        self._places: dict[str, int] = {}
        """Number of a dataset by the one name of its folder."""

    def write(self, trained: Sequence[_Begun]) -> list[Source]:
        """Write all columns; the datasets, with those that only contexts come from behind those trained on."""
        for begun in trained:
            self._add(begun)
        sources = [self._tokens(number) for number in range(len(trained))]
        example_starts = [self._examples(number, sources[number]) for number in range(len(trained))]
        for number in range(len(trained), len(self._begun)):
            sources.append(self._tokens(number))
            self._groups_alone(number, sources[number])
        for source in sources[1:]:
            if source.tokenizer != sources[0].tokenizer:
                two = f"{source.task} and {sources[0].task}"
                raise ValueError(f"{two} have tokens of two tokenizers: make one of them again")
        for number in range(len(trained)):
            self._find_contexts(number, sources)
        return [
            Source(**{**vars(source), "example_starts": starts})
            for source, starts in zip(sources, [*example_starts, *([()] * len(sources))], strict=False)
        ]

    def _add(self, begun: _Begun) -> int:
        self._begun.append(begun)
        return self._places.setdefault(folder_of(begun.dataset.url), len(self._begun) - 1)

    def _tokens(self, number: int) -> Source:
        """Read a dataset's token commits: write its pairs' keys."""
        begun, starts, first = self._begun[number], [0], None
        url = begun.dataset.url
        with _Column(self._folder / f"{number}.keys.npy", np.uint64, 2) as keys:
            for name, (commit, table) in _in_order(begun, lambda name: read_commit(begun.dataset, name)):
                first = first or commit
                if (commit.fingerprint, commit.tokenizer) != (first.fingerprint, first.tokenizer):
                    raise ValueError(
                        f"{url}/tokens is of two tokenizers: remove it and run make tokens TASK={begun.task}"
                    )
                of_shard, wrong = _numbers(table["pair"].combine_chunks())
                if wrong is not None:
                    raise ValueError(f"{url}/{FOLDER}/{name}.parquet is refused: pair {wrong!r} is not 32 hex digits")
                keys.append(of_shard)
                starts.append(starts[-1] + len(of_shard))
        assert first is not None
        return Source(
            url=url,
            task=begun.task,
            sampled_as=begun.sampled_as,
            shards=begun.shards,
            pair_starts=starts,
            example_starts=(),
            fingerprint=first.fingerprint,
            tokenizer=first.tokenizer,
            state=begun.state,
        )

    def _examples(self, number: int, source: Source) -> list[int]:
        """Read a dataset's manifests: write its examples, its pairs' groups, and its contexts by key.

        Returns the number of each shard's first example, and last the number of examples.
        """
        keys = mapped(self._folder, number, "keys")
        starts, contexts, read = [0], 0, _in_order(self._begun[number], self._manifest(number))
        with (
            _Column(self._folder / f"{number}.groups.npy", np.uint64) as groups,
            _Column(self._folder / f"{number}.pair.npy", np.int32) as pairs,
            _Column(self._folder / f"{number}.code.npy", np.int8) as codes,
            _Column(self._folder / f"{number}.contexts.npy", np.int64) as ends,
            _Column(self._folder / f"{number}.context_dataset.npy", np.int16) as places,
            _Column(self._folder / f"{number}.context_keys.npy", np.uint64, 2) as wanted,
        ):
            ends.append(np.zeros(1, np.int64))
            for shard, (name, batches) in enumerate(read):
                first, end = source.pair_starts[shard : shard + 2]
                of_shard = np.zeros(end - first, np.uint64)
                starts.append(starts[-1])
                for batch in batches:
                    own, runs = self._own_pairs(batch, keys[first:end], source)
                    of_shard[own[runs]] = group_hashes(batch.column("source_group").take(pa.array(runs)))
                    direction = pc.index_in(batch.column("direction"), _DIRECTIONS)
                    kind = pc.index_in(batch.column("kind"), _KINDS)
                    if direction.null_count or kind.null_count:
                        raise self._damaged(number, name, "an example has another direction or kind than ours")
                    of = batch.column("contexts")
                    entries = of.flatten()
                    asked, wrong = _numbers(entries.field("pair"))
                    if wrong is not None:
                        raise _without_tokens(wrong, source.task)
                    lengths = np.cumsum(pc.list_value_length(of).to_numpy(zero_copy_only=False), dtype=np.int64)
                    ends.append(lengths + contexts)
                    contexts += len(entries)
                    pairs.append(own + first)
                    codes.append(len(_KINDS) * direction.to_numpy() + kind.to_numpy())
                    places.append(self._datasets(number, entries.field("dataset")))
                    wanted.append(asked)
                    starts[-1] += batch.num_rows
                groups.append(of_shard)
        return starts

    def _own_pairs(
        self, batch: pa.RecordBatch, keys: Keys, source: Source
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The place of each row's pair among those of its shard, and the rows at which another pair begins."""
        asked, wrong = _numbers(batch.column("pair"))
        if wrong is not None:
            raise _without_tokens(wrong, source.task)
        runs = np.flatnonzero(np.concatenate([[True], (asked[1:] != asked[:-1]).any(1)])[: len(asked)])
        found = Finder(keys).find(asked[runs], source.task)
        return np.repeat(found, np.diff(runs, append=len(asked))), runs

    def _datasets(self, number: int, places: pa.Array) -> NDArray[np.int16]:
        """The numbers of the datasets that contexts name, which are begun if they are new; without a name, the own."""
        if places.null_count == len(places):
            return np.full(len(places), number, np.int16)
        url, encoded = self._begun[number].dataset.url, places.dictionary_encode()
        numbers = []
        for place in encoded.dictionary.to_pylist():
            there = url_at(url, place)
            known = self._places.get(folder_of(there))
            numbers.append(self._add(_Begun.of(there)) if known is None else known)
        at: NDArray[np.int32] = pc.fill_null(encoded.indices, len(numbers)).to_numpy()
        known_as: NDArray[np.int16] = np.array([*numbers, number], np.int16)
        return known_as[at]

    def _groups_alone(self, number: int, source: Source) -> None:
        """Write the groups of the pairs of a dataset that only contexts come from."""
        keys = mapped(self._folder, number, "keys")
        read = _in_order(self._begun[number], self._manifest(number))
        with _Column(self._folder / f"{number}.groups.npy", np.uint64) as groups:
            for shard, (_, batches) in enumerate(read):
                first, end = source.pair_starts[shard : shard + 2]
                of_shard = np.zeros(end - first, np.uint64)
                for batch in batches:
                    own, runs = self._own_pairs(batch, keys[first:end], source)
                    of_shard[own[runs]] = group_hashes(batch.column("source_group").take(pa.array(runs)))
                groups.append(of_shard)

    def _find_contexts(self, number: int, sources: Sequence[Source]) -> None:
        """Write the numbers of the pairs that a dataset's contexts name by key."""
        wanted, places = (mapped(self._folder, number, column) for column in ("context_keys", "context_dataset"))
        finders: dict[int, Finder] = {}
        with _Column(self._folder / f"{number}.context.npy", np.int32) as found:
            for first in range(0, len(wanted), _CONTEXTS_AT_ONCE):
                asked, of = (column[first : first + _CONTEXTS_AT_ONCE] for column in (wanted, places))
                numbers = np.empty(len(asked), np.int32)
                for other in np.unique(of).tolist():
                    if other not in finders:
                        finders[other] = Finder(mapped(self._folder, other, "keys"))
                    chosen = of == other
                    numbers[chosen] = finders[other].find(asked[chosen], sources[other].task)
                found.append(numbers)
        (self._folder / f"{number}.context_keys.npy").unlink()

    def _manifest(self, number: int) -> Callable[[str], list[pa.RecordBatch]]:
        def read(name: str) -> list[pa.RecordBatch]:
            store, file = self._begun[number].dataset.store, f"manifest/{name}.parquet"
            try:
                with store.open(file) if store.is_local else io.BytesIO(store.read(file)) as opened:
                    return _batches(ParquetFile(opened))
            except (pa.ArrowException, OSError, DatasetError) as error:
                if is_outage(error):
                    raise
                raise self._damaged(number, name, error) from error

        return read

    def _damaged(self, number: int, name: str, why: object) -> DatasetError:
        url = self._begun[number].dataset.url
        return DatasetError(f"{url}/manifest/{name}.parquet cannot be read: {in_a_line(why)}; {verify_hint(url)}")


def _batches(file: ParquetFile) -> list[pa.RecordBatch]:
    """The columns of a manifest that are needed, in parts of bounded size."""
    if schema_of(file.schema_arrow) is MANIFEST:
        batches = list(file.iter_batches(_ROWS_AT_ONCE, columns=_PATHS))
        if batches and "contexts" not in batches[0].schema.names:  # another writer calls a list's entries otherwise
            batches = list(file.iter_batches(_ROWS_AT_ONCE, columns=_COLUMNS))
    else:
        batches = read_manifest(file, _COLUMNS).combine_chunks().to_batches()
    for batch in batches[:1]:
        check_columns(batch.schema, _NEEDED)
    return batches


def _in_order(begun: _Begun, read: Callable[[str], _Read]) -> Iterator[tuple[str, _Read]]:
    """What `read` returns of each shard, in their order; of a bucket, several are read at a time."""
    if begun.dataset.store.is_local:
        yield from ((name, read(name)) for name in begun.shards)
        return
    with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        waiting: deque[tuple[str, Future[_Read]]] = deque()
        try:
            for name in begun.shards:
                waiting.append((name, pool.submit(read, name)))
                if len(waiting) == _FILES_AT_A_TIME:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


class _Column:
    """An .npy file that grows: numpy leaves room in the header for a longer first axis."""

    def __init__(self, path: Path, kind: type[np.generic], *row: int) -> None:
        self._kind, self._row, self._count = np.dtype(kind), row, 0
        self._file = open(path, "wb")  # noqa: SIM115 (closed by __exit__)
        self._write_header()

    def __enter__(self) -> _Column:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def append(self, values: NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(values, self._kind).data)
        self._count += len(values)

    def _write_header(self) -> None:
        described = {"descr": self._kind.str, "fortran_order": False, "shape": (self._count, *self._row)}
        np.lib.format.write_array_header_1_0(self._file, described)


class Finder:
    """Finds pairs by key, exactly: by the first half in a sorted table, then by the second."""

    def __init__(self, keys: Keys) -> None:
        self._order = np.argsort(keys[:, 0], kind="stable").astype(np.int32)
        self._first, self._second = keys[self._order, 0], keys[self._order, 1]

    def find(self, asked: Keys, task: str) -> NDArray[np.int64]:
        """The number of each key. Raises ValueError if one is not there."""
        if not len(asked):
            return np.zeros(0, np.int64)
        # In their own order they would be looked for all over the table, which costs several times as much.
        by_key = np.argsort(asked[:, 0])
        place = np.empty(len(asked), np.int64)
        place[by_key] = np.searchsorted(self._first, asked[by_key, 0])
        left = np.arange(len(asked))
        while True:
            there = place[left] < len(self._first)
            there[there] = self._first[place[left][there]] == asked[left[there], 0]
            if not there.all():
                raise _without_tokens(_text(asked[left[~there][0]]), task)
            left = left[self._second[place[left]] != asked[left, 1]]
            if not len(left):
                return self._order[place].astype(np.int64)
            place[left] += 1  # two keys with the same first half, if not a key that is not there


def _without_tokens(pair: str, task: str) -> ValueError:
    return ValueError(f"pair {pair} of {task} has no tokens: remove tokens/ and run make tokens again")


def _numbers(keys: pa.Array) -> tuple[Keys, str | None]:
    """Keys as numbers, and the first, if any, that is none of ours: 32 digits 0 to f."""
    offsets = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset : keys.offset + len(keys) + 1]
    if len(keys) and (np.diff(offsets) == _KEY_CHARS).all():
        digits = bytes(memoryview(keys.buffers()[2])[offsets[0] : offsets[-1]])
        try:
            raw = binascii.unhexlify(digits)
        except ValueError:
            raw = b""
        if raw.hex().encode() == digits:  # unhexlify takes capitals too
            return np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 2), None
    elif not len(keys):
        return np.zeros((0, 2), np.uint64), None
    wrong = pc.invert(pc.fill_null(pc.match_substring_regex(keys, f"^[0-9a-f]{{{_KEY_CHARS}}}$"), False))
    return np.zeros((0, 2), np.uint64), str(keys.filter(wrong)[0].as_py())[:40]


def _text(key: NDArray[np.uint64]) -> str:
    """A key as it is written."""
    return f"{int(key[0]):016x}{int(key[1]):016x}"


def group_hashes(groups: pa.StringArray) -> NDArray[np.uint64]:
    """A hash of the name of each group, wherever it stands: a polynomial modulo 2**64, mixed by SplitMix64.

    Two groups with one hash, which somebody could choose, are one group to who splits by it: no harm is done.
    """
    offsets = np.frombuffer(groups.buffers()[1], np.int32)[groups.offset : groups.offset + len(groups) + 1]
    if not len(groups):
        return np.zeros(0, np.uint64)
    raw = memoryview(groups.buffers()[2] or b"")[offsets[0] : offsets[-1]]
    data = np.frombuffer(raw, np.uint8).astype(np.uint64) + np.uint64(1)
    lengths, begins = np.diff(offsets), offsets[:-1] - offsets[0]
    powers = np.cumprod(np.full(max(1, lengths.max()), _FACTOR, np.uint64))
    terms = data * powers[np.arange(len(data)) - np.repeat(begins, lengths)]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    return words(0, sums[begins + lengths] - sums[begins])


_FACTOR = 0x9E3779B97F4A7C15
"""An odd number, 2**64 over the golden ratio."""
