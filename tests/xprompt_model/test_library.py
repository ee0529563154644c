from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
import torch

from tests.xprompt_model.small import picture, small_model, text, turn
from xprompt_model.cache import Compressed
from xprompt_model.generator import Generator, Request
from xprompt_model.layout import Turn
from xprompt_model.library import Library, model_identity

GENERATOR = Generator(small_model())
IDENTITY = "a model"


def same(first: Compressed, second: Compressed) -> bool:
    numbers = [(one.tokens, one.bytes_before, one.bytes_after, len(one.cache.layers)) for one in (first, second)]
    return numbers[0] == numbers[1] and all(
        torch.equal(ours, theirs)
        for of_first, of_second in zip(first.cache.layers, second.cache.layers, strict=True)
        for ours, theirs in zip(of_first, of_second, strict=True)
    )


@pytest.fixture
def compressions(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows whenever an example is run."""
    found: list[None] = []
    plain = GENERATOR.compress

    def counted(context: Turn | None, *, keep_example: bool = False) -> Compressed:
        found.append(None)
        return plain(context, keep_example=keep_example)

    monkeypatch.setattr(GENERATOR, "compress", counted)
    return found


@pytest.mark.parametrize("keep_example", [False, True])
def test_an_example_is_run_once_and_read_from_then_on(
    keep_example: bool, tmp_path: Path, compressions: list[None]
) -> None:
    made = Library(tmp_path, IDENTITY).compressed(GENERATOR, turn(1), keep_example=keep_example)
    library = Library(tmp_path, IDENTITY)
    read = library.compressed(GENERATOR, turn(1), keep_example=keep_example)
    assert len(compressions) == 1 and same(made, read) and read is not made
    assert library.compressed(GENERATOR, turn(1), keep_example=keep_example) is read
    asked = [
        Request(instruction=text(2), inputs=[picture(2)], contexts=[one], seed=3) for one in (made, read, read, made)
    ]
    assert len({images.tobytes() for images in GENERATOR.images(asked)}) == 1
    assert len([*tmp_path.rglob("*.compressed")]) == 1 and not [*tmp_path.rglob("*.partial")]


def test_what_the_content_depends_on_is_another_file(tmp_path: Path, compressions: list[None]) -> None:
    for identity in (IDENTITY, "another"):
        library = Library(tmp_path, identity)
        library.compressed(GENERATOR, turn(1))
        library.compressed(GENERATOR, turn(1), keep_example=True)
        library.compressed(GENERATOR, turn(2))
    assert len(compressions) == 6 == len([*tmp_path.rglob("*.compressed")])


@pytest.mark.parametrize("damage", ["cut", "a bit", "another's", "empty"])
def test_a_damaged_file_is_made_again(damage: str, tmp_path: Path, compressions: list[None]) -> None:
    expected = Library(tmp_path, IDENTITY).compressed(GENERATOR, turn(1))
    (path,) = tmp_path.rglob("*.compressed")
    whole = path.read_bytes()
    if damage == "another's":
        Library(tmp_path / "other", IDENTITY).compressed(GENERATOR, turn(2))
        (other,) = (tmp_path / "other").rglob("*.compressed")
        path.write_bytes(other.read_bytes())
        compressions.pop()
    elif damage == "a bit":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    else:
        path.write_bytes(whole[: len(whole) // 2 if damage == "cut" else 0])
    library = Library(tmp_path, IDENTITY)
    assert same(library.compressed(GENERATOR, turn(1)), expected)
    assert (library.damaged, len(compressions), path.read_bytes()) == (1, 2, whole)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Library(tmp_path, IDENTITY).compressed(GENERATOR, turn(1))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def _fill(folder: Path, start: int) -> None:
    torch.set_num_threads(1)
    for number in range(8):
        Library(folder, IDENTITY).compressed(GENERATOR, turn((start + number) % 8))


def test_several_processes_fill_it_at_once(tmp_path: Path) -> None:
    """A forked process has the model without importing anything again."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_fill, args=(tmp_path, 2 * start)) for start in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    library = Library(tmp_path, IDENTITY)
    found = [library.compressed(GENERATOR, turn(number)) for number in range(8)]
    assert all(same(one, GENERATOR.compress(turn(number))) for number, one in enumerate(found))
    assert library.damaged == 0 and all(one.seconds == 0 for one in found)


def test_an_identity_is_of_weights_their_type_and_the_config() -> None:
    model = small_model()
    identities = [model_identity(model), model_identity(small_model())]
    identities.append(model_identity(small_model(rms_norm_eps=1e-4)))
    with torch.no_grad():
        model.xp[0, 0] += 1
    identities.append(model_identity(model))
    identities.append(model_identity(model.to(torch.bfloat16)))
    assert identities[0] == identities[1] and len(set(identities)) == 4
