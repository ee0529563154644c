from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image as PILImage
from PIL.PngImagePlugin import PngInfo

from manifests.images import pixels
from manifests.images.pixels import Pixels, reduced, remembering
from manifests.schema import Reject
from operators.account import Account, accounting
from operators.pictures import Pictures, keeping, kept_or_painted, key_of, sha256_of
from tests.sources import lossless, photo

KEY = "ab" * 32
ROOT = Path(__file__).parents[2]


class Brush:
    """Paints the photo of a number; dies at `death`, refuses what is in `refused`, has no memory for `too_large`."""

    def __init__(self, death: int = -1, refused: int = -1, too_large: int = -1) -> None:
        self.death, self.refused, self.too_large, self.batches = death, refused, too_large, list[list[int]]()

    def __call__(self, numbers: Sequence[int]) -> list[Pixels | Reject]:
        self.batches.append([*numbers])
        if self.death in numbers:
            raise KeyboardInterrupt
        return [self._one(number) for number in numbers]

    def _one(self, number: int) -> Pixels | Reject:
        if number == self.refused:
            return Reject("unsafe", "refused")
        return Reject("out_of_memory", "too small") if number == self.too_large else photo(number)


def paint(brush: Brush, numbers: Sequence[int], at_once: int = 2) -> tuple[list[Pixels | Reject], Account]:
    with accounting() as account:
        made = kept_or_painted(
            numbers, lambda number: {"number": number}, brush, at_once, alike=lambda number: number % 3 == 0
        )
    return made, account


def same(made: Sequence[Pixels | Reject], numbers: Sequence[int]) -> bool:
    return len(made) == len(numbers) and all(
        np.array_equal(np.asarray(one), photo(number)) for one, number in zip(made, numbers, strict=True)
    )


def test_outside_of_keeping_nothing_is_kept_and_all_is_painted_together() -> None:
    brush = Brush()
    for _ in range(2):
        made, account = paint(brush, [1, 2, 3])
        assert same(made, [1, 2, 3])
        assert (account.pictures, account.replayed_pictures) == (3, 0)
    assert brush.batches == [[1, 2, 3]] * 2


def test_what_is_kept_is_not_painted_again(tmp_path: Path) -> None:
    first, second = Brush(), Brush()
    with keeping(str(tmp_path)):
        made, account = paint(first, [1, 2, 3, 4, 5, 6])
        assert same(made, [1, 2, 3, 4, 5, 6])
        assert (account.pictures, account.replayed_pictures) == (6, 0)
        assert first.batches == [[1, 2], [4, 5], [3, 6]]  # those of a batch are alike
        made, account = paint(second, [6, 7, 2, 2, 1])
    assert same(made, [6, 7, 2, 2, 1])
    assert second.batches == [[7]]
    assert (account.pictures, account.replayed_pictures) == (1, 3)
    described = [b'{"number":%d}' % number for number in range(1, 8)]
    assert {path.name for path in tmp_path.iterdir()} == {f"{hashlib.sha256(one).hexdigest()}.png" for one in described}


def test_files_are_plain_pictures_without_loss(tmp_path: Path) -> None:
    with keeping(str(tmp_path)):
        paint(Brush(), [4])
    (file,) = tmp_path.iterdir()
    with PILImage.open(file) as image:
        assert image.format == "PNG" and np.array_equal(np.asarray(image), photo(4))


def test_a_death_loses_the_batch_in_hand_alone(tmp_path: Path) -> None:
    with keeping(str(tmp_path)), accounting() as account:
        with pytest.raises(KeyboardInterrupt):
            paint(Brush(death=5), [1, 2, 4, 5, 7])
        assert account.pictures == len([*tmp_path.iterdir()]) == 2
        brush = Brush()
        made, _ = paint(brush, [1, 2, 4, 5, 7])
    assert same(made, [1, 2, 4, 5, 7])
    assert brush.batches == [[4, 5], [7]]


def test_a_process_that_is_killed_has_kept_every_batch_before(tmp_path: Path) -> None:
    program = f"""
import os, signal
from operators.pictures import keeping
from tests.operators.test_pictures import Brush, paint

class Killed(Brush):
    def _one(self, number):
        if number == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._one(number)

with keeping({str(tmp_path)!r}):
    paint(Killed(), [1, 2, 4, 5, 7, 8])
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    brush = Brush()
    with keeping(str(tmp_path)):
        made, account = paint(brush, [1, 2, 4, 5, 7, 8])
    assert same(made, [1, 2, 4, 5, 7, 8])
    assert brush.batches == [[7, 8]]
    assert account.replayed_pictures == 4


def test_what_the_model_refuses_is_kept_and_what_memory_was_too_small_for_is_not(tmp_path: Path) -> None:
    with keeping(str(tmp_path)):
        made, account = paint(Brush(refused=1, too_large=2), [1, 2])
        assert [one.reason for one in made if isinstance(one, Reject)] == ["unsafe", "out_of_memory"]
        assert account.pictures == 1
        brush = Brush()
        made, account = paint(brush, [1, 2])
    refused, painted = made
    assert isinstance(refused, Reject) and (refused.reason, refused.message) == ("unsafe", "refused")
    assert same([painted], [2])
    assert brush.batches == [[2]]
    assert (account.pictures, account.replayed_pictures) == (1, 1)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "longer", "other", "black"])
def test_a_damaged_picture_is_painted_again(damage: str, tmp_path: Path) -> None:
    with keeping(str(tmp_path)):
        paint(Brush(), [1])
        (file,) = tmp_path.iterdir()
        sound = file.read_bytes()
        broken = {
            "cut": sound[: len(sound) // 2],
            "empty": b"",
            "longer": sound + b"\0",
            "other": b"GIF89a" + sound,
            "black": sound[: len(sound) // 2] + bytes(len(sound) - len(sound) // 2),
        }
        positions = range(0, len(sound), 97) if damage == "flip" else [0]
        for position in positions:
            flipped = sound[:position] + bytes([sound[position] ^ 0x10]) + sound[position + 1 :]
            file.write_bytes(broken.get(damage, flipped))
            brush = Brush()
            made, account = paint(brush, [1])
            assert same(made, [1]) and brush.batches == [[1]], position
            assert (account.pictures, account.replayed_pictures) == (1, 0)
            assert file.read_bytes() == sound


def test_a_damaged_reject_is_painted_again(tmp_path: Path) -> None:
    with keeping(str(tmp_path)):
        paint(Brush(refused=1), [1])
        (file,) = tmp_path.iterdir()
        sound = file.read_bytes()
        for broken in (b"", sound[:-1], sound.replace(b"unsafe", b"unsold"), sound + b" ", b"[]", b"{}"):
            file.write_bytes(broken)
            brush = Brush(refused=1)
            paint(brush, [1])
            assert brush.batches == [[1]], broken
            assert file.read_bytes() == sound


def test_an_edited_picture_and_one_with_anothers_name_are_painted_again(tmp_path: Path) -> None:
    """They are whole PNGs, with right checksums."""
    with keeping(str(tmp_path)):
        paint(Brush(), [1])
        (file,) = tmp_path.iterdir()
        sound = file.read_bytes()
        paint(Brush(), [2])
        (other,) = {*tmp_path.iterdir()} - {file}
        with PILImage.open(file) as image:
            notes = PngInfo()
            notes.add_text("sha256", image.text["sha256"])  # type: ignore[attr-defined]
        edited = io.BytesIO()
        PILImage.fromarray(photo(5)).save(edited, "PNG", pnginfo=notes)
        for replaced in (edited.getvalue(), other.read_bytes()):
            file.write_bytes(replaced)
            brush = Brush()
            made, account = paint(brush, [1])
            assert same(made, [1]) and brush.batches == [[1]]
            assert (account.pictures, account.replayed_pictures) == (1, 0)
            assert file.read_bytes() == sound


def test_a_reject_that_was_edited_or_is_anothers_is_painted_again(tmp_path: Path) -> None:
    with keeping(str(tmp_path)):
        paint(Brush(refused=1), [1])
        (file,) = tmp_path.iterdir()
        sound = file.read_bytes()
        for wrong in (sound.replace(b"refused", b"accepted"), Pictures(str(tmp_path / "x")), b"[" * 100_000):
            if isinstance(wrong, Pictures):
                wrong.keep(KEY, Reject("unsafe", "refused"))
                wrong = (tmp_path / "x" / f"{KEY}.json").read_bytes()
            file.write_bytes(wrong)
            brush = Brush(refused=1)
            paint(brush, [1])
            assert brush.batches == [[1]] and file.read_bytes() == sound


def test_what_older_runs_have_kept_without_a_sum_is_taken(tmp_path: Path) -> None:
    (tmp_path / f"{KEY}.json").write_bytes(b'{"message":"refused","reason":"unsafe"}')
    kept = Pictures(str(tmp_path)).get(KEY)
    assert isinstance(kept, Reject) and (kept.reason, kept.message) == ("unsafe", "refused")


def test_the_first_writer_wins(tmp_path: Path) -> None:
    """Two paint the same at the same time, on GPUs that round otherwise: all see what the first has kept."""
    pictures = Pictures(str(tmp_path))
    assert np.array_equal(np.asarray(pictures.keep(KEY, photo(1))), photo(1))
    assert np.array_equal(np.asarray(pictures.keep(KEY, photo(2))), photo(1))
    assert np.array_equal(np.asarray(pictures.get(KEY)), photo(1))
    assert pictures.get("cd" * 32) is None


def test_in_a_bucket() -> None:
    url, fs = "memory://bucket/painted", fsspec.filesystem("memory")
    try:
        with keeping(url):
            paint(Brush(refused=2), [1, 2])
            brush = Brush()
            made, _ = paint(brush, [1, 2])
        assert same(made[:1], [1]) and isinstance(made[1], Reject) and brush.batches == []
        assert len(fs.ls("/bucket/painted")) == 2
    finally:
        fs.rm("/bucket", recursive=True)


def test_a_thread_keeps_where_it_says_and_nowhere_else(tmp_path: Path) -> None:
    with keeping(str(tmp_path / "a")):

        def work() -> None:
            paint(Brush(), [1])
            with keeping(str(tmp_path / "b")):
                paint(Brush(), [2])

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert len([*(tmp_path / "b").iterdir()]) == 1


def test_what_is_read_leaves_the_memory_of_the_unit_alone(tmp_path: Path) -> None:
    """A unit's memory holds every image that it was given until the unit is written."""
    with keeping(str(tmp_path)):
        paint(Brush(), [1])
        with remembering():
            image = lossless("input", photo(2))
            before = reduced(image.data)
            made, _ = paint(Brush(), [1])
            assert reduced(image.data) is before
            assert same(made, [1])
            memory = pixels._memory.get()
            assert memory and len(memory._entries) == 1


def test_keys_tell_pictures_of_one_bytes_and_two_shapes_apart() -> None:
    flat = np.arange(24, dtype=np.uint8)
    assert sha256_of(flat.reshape(2, 4, 3)) != sha256_of(flat.reshape(4, 2, 3))
    assert sha256_of(flat.reshape(2, 4, 3)) == sha256_of(np.asfortranarray(flat.reshape(2, 4, 3)))
    assert key_of({"a": 1, "b": (2, 3)}) == key_of({"b": [2, 3], "a": 1}) != key_of({"a": 1, "b": [3, 2]})


def test_a_picture_of_another_decoder_is_taken_too(tmp_path: Path) -> None:
    """What counts is that the file is a whole PNG, not that our encoder wrote it."""
    buffer = io.BytesIO()
    PILImage.fromarray(photo(3)).save(buffer, "PNG")
    (tmp_path / f"{KEY}.png").write_bytes(buffer.getvalue())
    assert np.array_equal(np.asarray(Pictures(str(tmp_path)).get(KEY)), photo(3))
