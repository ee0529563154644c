"""Class labels against transformers' own pipeline, against the published list of classes, and by hand."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair, Reject
from operators.arrange.colour_dense import ColourDense
from operators.degrade import label_map
from operators.degrade.label_map import LabelMap
from operators.shared.ade20k import CLASSES
from tests.sources import lossless, pair_of, photo
from tests.tiny import run_one, tiny_models

PUBLISHED = """wall building sky floor tree ceiling road bed_ windowpane grass cabinet sidewalk person earth door table
mountain plant curtain chair car water painting sofa shelf house sea mirror rug field armchair seat fence desk rock
wardrobe lamp bathtub railing cushion base box column signboard chest_of_drawers counter sand sink skyscraper fireplace
refrigerator grandstand path stairs runway case pool_table pillow screen_door stairway river bridge bookcase blind
coffee_table toilet flower book hill bench countertop stove palm kitchen_island computer swivel_chair boat bar
arcade_machine hovel bus towel light truck tower chandelier awning streetlight booth television_receiver airplane
dirt_track apparel pole land bannister escalator ottoman bottle buffet poster stage van ship fountain conveyer_belt
canopy washer plaything swimming_pool stool barrel basket waterfall tent bag minibike cradle oven ball food step tank
trade_name microwave pot animal bicycle lake dishwasher screen blanket sculpture hood sconce vase traffic_light tray
ashcan fan pier crt_screen plate monitor bulletin_board shower radiator glass clock flag"""
"""id2label of nvidia/segformer-b5-finetuned-ade-640-640, ids 0 to 149: ade20k-id2label.json of the hub's data set
huggingface/label-files. _ is a space, and "bed " has one at its end."""


@pytest.mark.parametrize(("width_px", "height_px"), [(160, 112), (90, 133)])
def test_it_is_what_transformers_pipeline_finds(width_px: int, height_px: int) -> None:
    pixels = photo(0, width_px, height_px)
    models = tiny_models("segformer-ade20k")
    found = _segmenter(f"{models}/segformer-ade20k")(PILImage.fromarray(pixels), subtask="semantic")
    assert len(found) > 5
    colours = {name: colour for name, *colour in CLASSES}
    expected = np.zeros((height_px, width_px, 3), np.uint8)
    for one in found:
        expected[np.asarray(one["mask"]) > 0] = colours[one["label"]]
    pair = run_one(LabelMap().bound(models), pair_of(lossless("target", pixels)), 1)
    assert np.array_equal(_coloured(pair), expected)


def test_classes_have_the_colours_of_ade20k(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ADE20K's own pictures: wall, sky, tree and flag, the first, third, fifth and last class."""
    pair = _found(monkeypatch, [[0, 2], [4, 149]])
    assert _raw(pair).tolist() == [[1, 3], [5, 150]]
    assert _coloured(pair).tolist() == [[[120, 120, 120], [6, 230, 230]], [[4, 200, 3], [92, 0, 255]]]


def test_a_photo_of_one_class_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    most = np.full((10, 10), 2)
    most[0, :5] = 4
    assert _found(monkeypatch, most.tolist())  # 95% sky
    most[0, 4] = 2
    with pytest.raises(Reject, match=r"96\.0% of it is sky") as reject:
        _found(monkeypatch, most.tolist())
    assert reject.value.reason == "one_class"


def test_our_classes_are_in_the_order_of_the_published_ones(tmp_path: Path) -> None:
    published = dict(enumerate(name.replace("_", " ") for name in PUBLISHED.split()))
    assert len(published) == 150
    folder = _with_classes(tmp_path / "published", published)
    assert LabelMap().bound(folder).model == "segformer-ade20k"
    synonyms = {**published, 1: "building, edifice", 3: "floor, flooring"}
    assert LabelMap().bound(_with_classes(tmp_path / "synonyms", synonyms)).model == "segformer-ade20k"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({3: "tree", 4: "floor"}, "150: 3 is tree, not floor"),
        ({150: "lava"}, "150: 150 is lava, not nothing"),
        ({149: None}, "150: 149 is nothing, not flag"),
    ],
)
def test_a_checkpoint_of_other_classes_is_refused_in_one_line(
    change: dict[int, str | None], said: str, tmp_path: Path
) -> None:
    named = dict(enumerate(name.replace("_", " ") for name in PUBLISHED.split())) | change
    folder = _with_classes(tmp_path, {place: name for place, name in named.items() if name})
    with pytest.raises(ValueError, match="has other classes than ADE20K's") as error:
        LabelMap().bound(folder)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_checkpoint_without_a_config_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = Path(_with_classes(tmp_path, {}), "segformer-ade20k")
    config = folder / "config.json"
    for damage, said in (
        (lambda: config.write_text("{"), r"config\.json is not JSON"),
        (config.unlink, r"config\.json cannot be read, which names the classes"),
    ):
        damage()
        with pytest.raises(ValueError, match=said) as error:
            LabelMap().bound(str(tmp_path))
        assert "\n" not in str(error.value)


def test_a_large_photo_is_labelled_at_a_smaller_size(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = LabelMap().bound(tiny_models("segformer-ade20k"))
    pair = pair_of(lossless("target", photo(0, 200, 150)))
    whole = _raw(run_one(operator, pair, 1))
    monkeypatch.setattr(label_map, "_MAX_SIDE_PX", 75)
    halved = _raw(run_one(operator, pair, 1))
    assert halved.shape == whole.shape == (150, 200)
    assert all(np.array_equal(halved[::2, ::2], halved[row::2, column::2]) for row in (0, 1) for column in (0, 1))
    assert 0.9 < (halved == whole).mean() < 1


def test_what_is_no_number_is_the_networks_fault_and_not_the_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """argmax takes NaN for the greatest, so that one score that is none would be a class."""
    assert _raw(_found(monkeypatch, [[1, 2]])).tolist() == [[2, 3]]
    with pytest.raises(Reject, match="the network of classes gives what is no finite number") as reject:
        _found(monkeypatch, [[1, 2]], broken=math.nan)
    assert reject.value.reason == "not_finite"


def _with_classes(models: Path, named: dict[int, str]) -> str:
    """MODELS with a SegFormer whose config has these names."""
    folder = models / "segformer-ade20k"
    shutil.copytree(Path(tiny_models("segformer-ade20k"), "segformer-ade20k"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(place): name for place, name in named.items()}
    (folder / "config.json").write_text(json.dumps(config))
    return str(models)


def _found(monkeypatch: pytest.MonkeyPatch, best: list[list[int]], broken: float = 0.0) -> Pair:
    """What becomes of a photo in which the network finds these classes best, and one score is `broken`."""
    import torch

    class Processor:
        def __call__(self, **given: Any) -> Any:
            return self

        def to(self, device: str) -> dict[str, Any]:
            return {}

    class Network(SimpleNamespace):
        def __call__(self) -> Any:
            scores = torch.nn.functional.one_hot(torch.tensor(best), 150).permute(2, 0, 1).float()
            scores[7, 0, 0] = broken
            return SimpleNamespace(logits=scores[None].repeat(LabelMap.at_once, 1, 1, 1))

    monkeypatch.setattr(label_map, "_network", lambda folder: (Processor(), Network(device="cpu")))
    blank = np.zeros((len(best), len(best[0]), 3), np.uint8)
    return run_one(LabelMap(), pair_of(lossless("target", blank)), 1)


def _segmenter(folder: str) -> Any:
    from transformers import pipeline

    return pipeline("image-segmentation", model=folder, device="cpu")


def _raw(pair: Pair) -> np.ndarray[Any, Any]:
    with PILImage.open(io.BytesIO(pair.images[1].data)) as opened:
        return np.asarray(opened)


def _coloured(pair: Pair) -> Pixels:
    return decode_rgb(ColourDense()(pair, 1).images[1].data)
