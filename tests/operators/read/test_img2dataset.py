from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from manifests.schema import Reject
from manifests.storage import Store
from operators.read.files import list_files
from operators.read.img2dataset import Img2Dataset, _index
from operators.read.parquet import _row_group, open_parquet
from pipelines.sources.datasets import LAION_AESTHETICS
from tests.fixtures import LAION_ROWS, write_laion
from tests.readers import count_bytes, images, located, read_all
from tests.sources import encode, jpeg, photo, real_profile, seen_by_lcms, write_files


@pytest.mark.parametrize("score", ["aesthetic", "AESTHETIC_SCORE"])
def test_downloaded_images_above_the_score_with_their_captions(score: str, tmp_path: Path) -> None:
    write_laion(tmp_path, score)
    pairs, rejects = read_all(_located(tmp_path))
    # In the tar's order, which is that of completion
    numbers = [3, 0, 1, 2, 4]
    assert [pair.source_ref for pair in pairs] == [f"00000.tar/00000{number:04d}" for number in numbers]
    for number, pair in zip(numbers, pairs, strict=True):
        assert images(pair) == {"target": jpeg(number)}
        assert pair.texts == {
            "caption": LAION_ROWS[number][2],
            "url": f"https://example.org/00000{number:04d}.jpg",
        }
        assert pair.scores == {"aesthetic": LAION_ROWS[number][1]}
    assert {item.ref[-2:]: (reject.reason, reject.message) for item, reject in rejects} == {
        "10": (
            "missing_member",
            "00000.tar has no image 000000010, though its Parquet file says so; it is cut off or damaged, and what "
            "lies behind that is lost",
        ),
        "11": ("damaged", "00000.tar is cut off inside 000000011"),
    }


def test_members_of_other_kinds_are_read_and_stored_as_what_every_decoder_sees(tmp_path: Path) -> None:
    write_laion(tmp_path)
    profile, clear = real_profile("rocket.jpg"), np.dstack([photo(3), np.zeros((40, 48), np.uint8)])
    files = {"000000000.avif": encode(photo(0), "AVIF"), "000000001.png": encode(photo(1), icc_profile=profile)}
    files["000000003.webp"] = encode(clear, "WEBP", lossless=True)
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    pairs, _ = read_all(_located(tmp_path))
    stored = {pair.source_ref[-1]: images(pair)["target"] for pair in pairs}
    assert stored.keys() == {"0", "1", "3"} and stored["0"] == files["000000000.avif"]
    expected = seen_by_lcms(PILImage.fromarray(photo(1)), profile)
    for number, pixels in (("1", expected), ("3", np.full((40, 48, 3), 255))):
        with PILImage.open(io.BytesIO(stored[number])) as opened:
            assert np.array_equal(np.asarray(opened), pixels)


def test_shards_in_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    write_laion(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / os.fsdecode(b"d\xe9"))
    pairs, _ = read_all(_located(tmp_path))
    assert len(pairs) == 5 and pairs[0].source_ref.startswith("d\\xe9/00000.tar/")


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    write_laion(tmp_path)
    reader = _located(tmp_path)
    assert reader.left_out(reader.listing()) == {
        "not downloaded": 2,
        "without a score or a key": 1,
        "score not above 6": 2,
        "unfinished tars": 1,
    }


def test_planning_opens_no_tar_and_a_unit_reads_headers_and_its_own_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _ = located("laion", tmp_path)
    counts = count_bytes(monkeypatch)
    items = list(reader.items(reader.listing()))
    assert counts.keys() == {"00000.parquet"}
    counts.clear()
    reader.read(items[0], "text_to_image")
    reader.read(items[1], "text_to_image")
    members = 10 * 3
    assert counts["00000.tar"] <= len(jpeg(3)) + len(jpeg(0)) + 2 * 512 * members
    counts.clear()
    reader.read(items[2], "text_to_image")
    assert counts["00000.tar"] == len(jpeg(1))


def test_a_shard_without_its_tar_is_rejected_item_by_item(tmp_path: Path) -> None:
    write_laion(tmp_path)
    (tmp_path / "00000.tar").rename(tmp_path / "00002.tar")
    pairs, rejects = read_all(_located(tmp_path))
    assert pairs == []
    assert {reject.reason for _, reject in rejects} == {"missing"} and len(rejects) == 7


def test_bytes_that_are_no_tar_hold_no_images(tmp_path: Path) -> None:
    write_laion(tmp_path)
    write_files(tmp_path, {"00000.tar": b"not a tar" * 100})
    _, rejects = read_all(_located(tmp_path))
    assert {reject.reason for _, reject in rejects} == {"missing_member"}


def test_a_member_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 GB, sparse here."""
    write_laion(tmp_path)
    reader = _located(tmp_path)
    item = next(iter(reader.items(reader.listing())))
    with open(tmp_path / "00000.tar", "wb") as file:
        header = tarfile.TarInfo(f"{item.ref.rpartition('/')[2]}.jpg")
        header.size = 8 * 10**9
        file.write(header.tobuf())
        file.truncate(header.size + 10_240)
    monkeypatch.setattr(Store, "read", None)
    with pytest.raises(Reject, match="8,000,000,000 bytes, more than") as caught:
        reader.read(item, "text_to_image")
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("name", ["00000.tar", "00000.parquet"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    write_laion(tmp_path)
    reader = _located(tmp_path)
    items = list(reader.items(reader.listing()))
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    open_parquet.cache_clear()
    with pytest.raises(Reject, match=f"{name}: it is a named pipe, not a file"):
        reader.read(items[0], "text_to_image")


def test_without_a_score_there_is_nothing_to_choose_by(tmp_path: Path) -> None:
    write_laion(tmp_path, "similarity")
    reader = _located(tmp_path)
    with pytest.raises(ValueError, match=r"needs the columns key, status and aesthetic or .*--save_add"):
        list(reader.items(reader.listing()))


def test_other_parquet_files_are_not_shards(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "notes.parquet")
    assert LAION_AESTHETICS.reader.located(str(tmp_path), list_files(str(tmp_path))) is None
    write_laion(tmp_path)
    reader = _located(tmp_path)
    assert len(list(reader.items(reader.listing()))) == 7


@pytest.mark.parametrize(
    "kind",
    [pa.int32(), pa.uint8(), pa.float16(), pa.float64(), pa.decimal128(22, 2), pa.string(), pa.large_string(),
     pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)  # fmt: skip
def test_scores_of_any_type_that_says_a_number(kind: pa.DataType, tmp_path: Path) -> None:
    numbers = pa.array([7, 5, 6, None, 9], pa.int32())
    spelled = "string" in str(kind)
    texts = numbers.cast(pa.string())
    _shard(
        tmp_path,
        aesthetic=(texts.dictionary_encode() if "dict" in str(kind) else texts.cast(kind))
        if spelled
        else numbers.cast(kind),
    )
    reader = _located(tmp_path)
    pairs, rejects = read_all(reader)
    assert [(pair.source_ref, pair.scores) for pair in pairs] == [
        ("00000.tar/000000000", {"aesthetic": 7.0}),
        ("00000.tar/000000004", {"aesthetic": 9.0}),
    ]
    assert rejects == []
    assert reader.left_out(reader.listing()) == {"score not above 6": 2, "without a score or a key": 1}


def test_an_image_that_is_listed_twice_is_read_once(tmp_path: Path) -> None:
    """As where lists were put together: two pairs of one key would be a damaged dataset."""
    keys = ["000000001", "000000001", "000000000", "000000001", "000000002"]
    _shard(tmp_path, key=pa.array(keys), aesthetic=pa.array([5.0, 8.0, 7.0, 9.0, 7.0]))
    reader = _located(tmp_path)
    pairs, rejects = read_all(reader)
    assert [(pair.source_ref, pair.scores["aesthetic"]) for pair in pairs] == [
        *(("00000.tar/000000001", 8.0), ("00000.tar/000000000", 7.0), ("00000.tar/000000002", 7.0)),
    ]
    assert rejects == []
    assert reader.left_out(reader.listing()) == {"listed again": 1, "score not above 6": 1}


def test_a_list_without_rows_adds_nothing(tmp_path: Path) -> None:
    _shard(tmp_path)
    pq.write_table(pq.read_table(tmp_path / "00000.parquet").slice(0, 0), tmp_path / "00001.parquet")
    reader = _located(tmp_path)
    assert len(read_all(reader)[0]) == 5
    assert reader.left_out(reader.listing()) == {}


def test_texts_that_are_no_numbers_are_no_scores(tmp_path: Path) -> None:
    _shard(tmp_path, aesthetic=pa.array(["7.5", "nan", "-", "6,5", "inf"]))
    reader = _located(tmp_path)
    assert [pair.scores for pair in read_all(reader)[0]] == [{"aesthetic": 7.5}]
    assert reader.left_out(reader.listing()) == {"without a score or a key": 4}


@pytest.mark.parametrize("values", [pa.array([True] * 5), pa.array([[7.0]] * 5), pa.array(["good"] * 5)], ids=str)
def test_a_score_column_without_a_number_is_an_error_that_names_it(values: pa.Array, tmp_path: Path) -> None:
    _shard(tmp_path, aesthetic=values)
    reader = _located(tmp_path)
    with pytest.raises(ValueError, match=r"00000\.parquet: aesthetic, of type .*, has no number by which to choose"):
        list(reader.items(reader.listing()))


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint16(), pa.float64(), pa.decimal128(10, 0), pa.string()], ids=str)
def test_keys_that_became_numbers_find_their_images(kind: pa.DataType, tmp_path: Path) -> None:
    numbers = pa.array(range(5), pa.int32())
    _shard(tmp_path, key=numbers.cast(kind), status=pa.array(["success"] * 5).dictionary_encode())
    pairs, rejects = read_all(_located(tmp_path))
    assert [(pair.source_ref, images(pair)) for pair in pairs] == [
        (f"00000.tar/{number}", {"target": jpeg(number)}) for number in range(5)
    ]
    assert rejects == []


@pytest.mark.parametrize("layout", ["webdataset", "files"])
def test_where_the_list_has_no_captions_those_beside_the_images_are_read(layout: str, tmp_path: Path) -> None:
    _shard(tmp_path, captions={"000000000": "café ", "000000002": "nan", "000000003": "three"})
    path = tmp_path / "00000.parquet"
    if layout == "files":
        with tarfile.open(tmp_path / "00000.tar") as tar:
            tar.extractall(tmp_path / "00000", filter="data")
        (tmp_path / "00000.tar").unlink()
    assert read_all(_located(tmp_path))[0][0].texts == {"caption": "photo 000000000"}
    pq.write_table(pq.read_table(path).drop(["caption"]), path)
    pairs, rejects = read_all(_located(tmp_path))
    assert [pair.texts for pair in pairs] == [{"caption": "café "}, {}, {}, {"caption": "three"}, {}]
    assert rejects == []


def test_keys_of_fewer_zeros_find_their_images(tmp_path: Path) -> None:
    _shard(tmp_path, key=pa.array([f"{number:05d}" for number in range(5)]))
    pairs, _ = read_all(_located(tmp_path))
    assert [images(pair) for pair in pairs] == [{"target": jpeg(number)} for number in range(5)]


def test_a_number_that_two_images_have_names_neither(tmp_path: Path) -> None:
    _shard(tmp_path, key=pa.array([0, 1, 2, 3, None]), names=["0000", "00", "2", "02", "x"])
    reader = _located(tmp_path)
    pairs, rejects = read_all(reader)
    assert [pair.source_ref for pair in pairs] == ["00000.tar/2"]  # which is there as it is spelled
    assert {(item.ref, reject.reason) for item, reject in rejects} == {
        ("00000.tar/0", "missing_member"),
        ("00000.tar/1", "missing_member"),
        ("00000.tar/3", "missing_member"),
    }
    assert reader.left_out(reader.listing()) == {"without a score or a key": 1}


@pytest.mark.parametrize(("kind", "ending"), [("AVIF", "avif"), ("WEBP", "webp"), ("JPEG", "JPG"), ("JPEG", "jfif")])
def test_images_of_other_endings(kind: str, ending: str, tmp_path: Path) -> None:
    data = encode(photo(0), kind)
    _shard(tmp_path, ending=ending, contents=[data] * 5)
    pairs, rejects = read_all(_located(tmp_path))
    assert [images(pair) for pair in pairs] == [{"target": data}] * 5
    assert rejects == []


@pytest.mark.parametrize("left", [0, 256, 512])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_tar_that_ends_before_its_end_says_so(left: int, damaged: bool, tmp_path: Path) -> None:
    """To tarfile a cut between two members, or in a header, or bytes that are no header look like an end."""
    _shard(tmp_path)
    with tarfile.open(tmp_path / "00000.tar") as tar:
        start = tar.getmembers()[3].offset
    data = (tmp_path / "00000.tar").read_bytes()
    cut = data[:start] + b"\x01" * left + data[start + left :] if damaged and left else data[: start + left // 2]
    write_files(tmp_path, {"00000.tar": cut})
    pairs, rejects = read_all(_located(tmp_path))
    assert [pair.source_ref[-1] for pair in pairs] == ["0", "1", "2"]
    assert {(reject.reason, "cut off or damaged" in reject.message) for _, reject in rejects} == {
        ("missing_member", True)
    }


def test_an_image_that_a_whole_tar_lacks_is_not_said_to_be_cut_off(tmp_path: Path) -> None:
    _shard(tmp_path, names=["000000000", "x", "000000002", "000000003", "000000004"])
    ((item, reject),) = read_all(_located(tmp_path))[1]
    assert (item.ref, reject.message[-24:]) == ("00000.tar/000000001", "its Parquet file says so")


def test_tars_without_any_list_are_refused_by_name(tmp_path: Path) -> None:
    _shard(tmp_path)
    (tmp_path / "00000.parquet").unlink()
    with pytest.raises(ValueError, match=r"has 00000\.tar but not 00000\.parquet, which img2dataset writes"):
        LAION_AESTHETICS.reader.located(str(tmp_path), list_files(str(tmp_path)))


def test_the_layout_of_files_gives_the_same_images_as_that_of_tars(tmp_path: Path) -> None:
    _shard(tmp_path / "tars", aesthetic=pa.array([7.0, 5.0, None, 8.0, 9.0]))
    _shard(tmp_path / "files", aesthetic=pa.array([7.0, 5.0, None, 8.0, 9.0]))
    with tarfile.open(tmp_path / "files/00000.tar") as tar:
        tar.extractall(tmp_path / "files/00000", filter="data")
    (tmp_path / "files/00000.tar").unlink()
    (tmp_path / "files/00000/000000004.jpg").unlink()
    reader = _located(tmp_path / "files")
    pairs, rejects = read_all(reader)
    assert [pair.source_ref for pair in pairs] == ["00000/000000000", "00000/000000003"]
    of_tars = read_all(_located(tmp_path / "tars"))[0][:2]
    assert [(images(pair), pair.texts, pair.scores) for pair in pairs] == [
        (images(pair), pair.texts, pair.scores) for pair in of_tars
    ]
    assert [(item.ref, reject.reason) for item, reject in rejects] == [("00000/000000004", "missing_member")]
    assert reader.left_out(reader.listing()) == {"score not above 6": 1, "without a score or a key": 1}


def _shard(
    folder: Path,
    ending: str = "jpg",
    contents: Sequence[bytes] = (),
    names: Sequence[str] = (),
    captions: Mapping[str, str] = MappingProxyType({}),
    **columns: pa.Array,
) -> None:
    """A shard of five images, 000000000 to 000000004, all downloaded with score 7, with some columns replaced."""
    keys = [f"{number:09d}" for number in range(5)]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, name in enumerate(names or keys):
            data = contents[number] if contents else jpeg(number)
            header = tarfile.TarInfo(f"{name}.{ending}")
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
        for key, caption in captions.items():
            header = tarfile.TarInfo(f"{key}.txt")
            header.size = len(caption.encode())
            tar.addfile(header, io.BytesIO(caption.encode()))
    table = {
        "key": pa.array(keys),
        "status": pa.array(["success"] * 5),
        "caption": pa.array([f"photo {key}" for key in keys]),
        "aesthetic": pa.array([7.0] * 5),
    }
    write_files(folder, {"00000.tar": buffer.getvalue()})
    pq.write_table(pa.table({**table, **columns}), folder / "00000.parquet")


def _located(root: Path) -> Img2Dataset:
    """The reader of a folder, to which no file is open that may have been written anew."""
    for cache in (open_parquet, _row_group, _index):
        cache.cache_clear()
    reader = LAION_AESTHETICS.reader.located(str(root), list_files(str(root)))
    assert isinstance(reader, Img2Dataset)
    return reader
