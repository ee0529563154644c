"""The released checkpoints' tensors, by name and shape, against what our loaders make of them, without weights.

Files of the released names, shapes and types are written whose contents are a hole, and are loaded by the same classes
as ever. That the lists are the released ones is shown by the sizes that others published: a safetensors file's is that
of its tensors and of its header, in which each name, shape and offset is spelled out.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from operators.models.table import CHECKPOINTS, parts_of
from operators.paint.compose import FLUX_WEIGHTS, SD15_WEIGHTS
from tests.released import Network, expanded, networks

NOT_FOUND = {
    "blazepose": "its file is a graph of TensorFlow Lite",
    "dwpose": "its files are graphs of ONNX",
}
"""Roles whose checkpoints have no tensors by name."""

_LIBRARIES = ("diffusers", "transformers")
_BIN = "pytorch_model.bin"

_WHOLE = {"CLIPVisionModelWithProjection": ("text_model.", "text_projection.", "logit_scale")}
"""Class -> what it leaves in the file of a whole CLIP."""


def _of(*loaders: str) -> list[str]:
    return [name for name, network in networks().items() if network.loader.startswith(loaders)]


def test_patterns_are_names() -> None:
    patterns = {"a.{0-1}.b": [1], "a.{3,5-6}.{0,2}": [2], "plain": [3]}
    assert expanded(patterns) == {
        **{"a.0.b": [1], "a.1.b": [1], "plain": [3]},
        **{f"a.{one}.{two}": [2] for one in (3, 5, 6) for two in (0, 2)},
    }


def test_every_role_of_the_table_is_found_or_named() -> None:
    roles = {role for network in networks().values() for role in network.files}
    assert roles | NOT_FOUND.keys() == CHECKPOINTS.keys()
    assert not roles & NOT_FOUND.keys()
    parts = {part for network in networks().values() for part in network.parts}
    assert {part.name for part in parts_of(CHECKPOINTS.keys() - NOT_FOUND.keys())} == parts
    assert all(network.sources for network in networks().values())


@pytest.mark.parametrize("name", [name for name, one in networks().items() if one.file_bytes or one.data_bytes])
def test_the_lists_account_for_every_byte_of_the_released_files(name: str) -> None:
    network = networks()[name]
    if network.data_bytes:
        assert network.tensors_bytes == network.data_bytes
    elif network.slack_bytes <= 8:  # safetensors as the library writes it
        assert network.file_bytes == pytest.approx(network.file_size(), abs=network.slack_bytes)
    else:
        assert network.file_bytes
        assert 0 <= network.file_bytes - network.tensors_bytes <= network.slack_bytes


@pytest.mark.parametrize("name", [name for name, one in networks().items() if one.twins])
def test_the_lists_account_for_every_byte_of_files_of_the_same_layout(name: str) -> None:
    """Where the size of the released file is not published: of its half, or of the checkpoint that it comes after."""
    network = networks()[name]
    for kind, size in network.twins.items():
        assert replace(network, types=dict.fromkeys(network.shapes, kind)).file_size() == size


def test_parameters_are_those_that_the_files_hold() -> None:
    """Of the parts that no config describes; the others are counted as they are loaded, below."""
    counted: Counter[str] = Counter()
    for network in networks().values():
        if not network.loader.startswith(_LIBRARIES):
            counted.update(dict.fromkeys(network.parts, sum(map(math.prod, _parameters(network)))))
    table = {part.name: part.parameters_m for part in parts_of(CHECKPOINTS)}
    assert {part: round(count / 1e6, 1) for part, count in counted.items()} == {part: table[part] for part in counted}


def _parameters(network: Network) -> list[tuple[int, ...]]:
    """The shapes of its parameters: not of statistics, nor of the layers of AlexNet that LPIPS leaves out."""
    others = ("running_mean", "running_var", "num_batches_tracked")
    names = (name for name in network.shapes if not name.endswith(others) and not name.startswith("classifier."))
    return [network.shapes[name] for name in names]


@pytest.fixture
def quiet() -> Any:
    """transformers draws a bar for each model, and a table of what it leaves in a file."""
    import transformers

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.set_verbosity(before)
    transformers.logging.enable_progress_bar()


def _types(network: Network) -> Any:
    """The type of a network's floating-point tensors, so that loading converts none."""
    import torch

    (kind,) = {kind for kind in network.types.values() if kind != "I64"}
    return {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}[kind]


def _loaded(network: Network, folder: Path) -> tuple[Any, Mapping[str, Any]]:
    """What the library makes of a network's file, and what it says of it."""
    module, _, name = network.loader.rpartition(".")
    kind = getattr(import_module(module), name)
    options: dict[str, Any] = {"local_files_only": True, "output_loading_info": True, "dtype": _types(network)}
    transformer = module == "transformers" or hasattr(kind, "base_model_prefix")  # which an Auto class has not
    if transformer:
        options["device_map"] = "meta"
    if name == "ViTModel":
        options["add_pooling_layer"] = False  # as in operators/shared/vision.py
    if set(network.files.values()) == {_BIN}:  # read by other code of the library's than safetensors
        _pickled(network.name, folder, _BIN)
    else:
        network.write(folder / ("model.safetensors" if transformer else "diffusion_pytorch_model.safetensors"))
    (folder / "config.json").write_text(json.dumps(network.config))
    model, said = kind.from_pretrained(folder, **options)
    return model, said


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", _of(*_LIBRARIES))
def test_the_library_finds_all_that_it_needs_in_the_file_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    network = networks()[name]
    model, said = _loaded(network, tmp_path)
    assert [*said["missing_keys"]] == [] and [*said["mismatched_keys"]] == []
    assert not said.get("error_msgs")
    left = [key for key in said["unexpected_keys"] if not key.startswith(_WHOLE.get(type(model).__name__, ()))]
    assert left == []
    table = {part.name: part.parameters_m for part in parts_of(CHECKPOINTS)}
    counted = round(sum(one.numel() for one in model.parameters()) / 1e6, 1)
    assert dict.fromkeys(network.parts, counted) == {part: table[part] for part in network.parts}


def test_a_list_that_is_not_the_networks_is_seen(tmp_path: Path) -> None:
    """The test above must be able to fail: a name too few, a shape that is another."""
    network = networks()["sd15-controlnet"]
    shapes = dict(network.shapes)
    del shapes["conv_in.bias"]
    wrong = Network(**{**vars(network), "shapes": shapes})
    assert [*_loaded(wrong, tmp_path)[1]["missing_keys"]] == ["conv_in.bias"]
    wrong = Network(**{**vars(network), "shapes": {**network.shapes, "conv_in.bias": (321,)}})
    with pytest.raises(ValueError, match=r"conv_in\.bias"):
        _loaded(wrong, tmp_path)


def _meta(network: Network) -> dict[str, Any]:
    """Its tensors, without memory."""
    import torch

    kinds = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I64": torch.int64}
    return {
        name: torch.empty(shape, dtype=kinds[network.types[name]], device="meta")
        for name, shape in network.shapes.items()
    }


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize("name", _of("operators.models.cascade"))
def test_ours_of_stable_cascade_take_the_released_files(name: str) -> None:
    import torch

    from operators.models import cascade

    network = networks()[name]
    with torch.device("meta"):
        model = getattr(cascade, network.loader.rpartition(".")[2])(_meta(network))
    assert _shapes(model) == network.shapes


def test_csd_takes_the_released_file() -> None:
    import torch

    from operators.models.csd import Csd

    network = networks()["csd"]
    with torch.device("meta"):
        model = Csd(_meta(network))
    names = {"style": "last_layer_style", "content": "last_layer_content"}
    found = {names.get(name, name.replace("tower.", "backbone.", 1)): shape for name, shape in _shapes(model).items()}
    assert found == network.shapes
    assert model.side_px == 224 and len(model.tower.transformer.resblocks) == 24


@pytest.mark.parametrize("name", _of("open_clip"))
def test_open_clip_has_the_released_tensors(name: str, tmp_path: Path) -> None:
    """It loads them strictly, whatever the file is."""
    import open_clip
    import torch

    network = networks()[name]
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": network.config}))
    with torch.device("meta"):
        model = open_clip.create_model(f"local-dir:{tmp_path}", load_weights=False, device="meta")
    assert _shapes(model) == network.shapes


def _pipe(kind: str, component: str, model: Any, others: tuple[str, ...]) -> Any:
    diffusers: Any = import_module("diffusers")
    scheduler = diffusers.PNDMScheduler() if component == "unet" else diffusers.FlowMatchEulerDiscreteScheduler()
    empty: dict[str, Any] = dict.fromkeys(others)
    return getattr(diffusers, kind)(**empty, scheduler=scheduler, **{component: model})


_SD15_EMPTY = ("vae", "text_encoder", "tokenizer", "safety_checker", "feature_extractor")
_FLUX_EMPTY = ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")


@pytest.mark.parametrize(
    ("name", "base", "kind", "component", "empty", "place"),
    [
        ("flux-ip-adapter", "flux-transformer", "FluxImg2ImgPipeline", "transformer", _FLUX_EMPTY, ("", FLUX_WEIGHTS)),
        ("sd15-ip-adapter", "sd15-unet", "StableDiffusionImg2ImgPipeline", "unet", _SD15_EMPTY, SD15_WEIGHTS),
    ],
)
def test_ip_adapters_go_into_their_networks(
    name: str, base: str, kind: str, component: str, empty: tuple[str, ...], place: tuple[str, str], tmp_path: Path
) -> None:
    import torch

    network, under = networks()[name], networks()[base]
    cls = getattr(import_module("diffusers"), under.loader.rpartition(".")[2])
    with torch.device("meta"):
        model = cls.from_config(under.config).to(_types(network))
    before = sum(one.numel() for one in model.parameters())
    pipe = _pipe(kind, component, model, empty)
    subfolder, file = place
    network.write(tmp_path / subfolder / file)
    assert network.files[name].endswith(file)
    without: dict[str, Any] = (
        {"image_encoder_pretrained_model_name_or_path": None}
        if component == "transformer"
        else {"image_encoder_folder": None}
    )
    pipe.load_ip_adapter(str(tmp_path), weight_name=file, subfolder=subfolder, local_files_only=True, **without)
    processors = [one for one in model.attn_processors.values() if hasattr(one, "to_k_ip")]
    added = [one for part in (*processors, model.encoder_hid_proj) for one in part.parameters()]
    assert sorted(tuple(one.shape) for one in added) == sorted(network.shapes.values())
    assert sum(one.numel() for one in model.parameters()) - before == network.tensors_bytes // 2  # 2 bytes each


def _pickled(name: str, folder: Path, file: str) -> None:
    """Write a network's tensors by torch.save: each is one stored zero, seen many times."""
    import torch

    network = networks()[name]
    kinds = {"F32": torch.float32, "F16": torch.float16, "I64": torch.int64}
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        key: torch.zeros((), dtype=kinds[network.types[key]]).expand(shape) for key, shape in network.shapes.items()
    }
    torch.save(tensors, folder / file)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("OpenposeDetector", ("openpose-body", "openpose-hand", "openpose-face")),
        ("HEDdetector", ("hed",)),
        ("MLSDdetector", ("mlsd",)),
    ],
)
def test_annotators_take_the_released_files(kind: str, names: tuple[str, ...], tmp_path: Path) -> None:
    """controlnet_aux loads strictly."""
    for name in names:
        (file,) = networks()[name].files.values()
        _pickled(name, tmp_path, file)
    getattr(import_module("controlnet_aux"), kind).from_pretrained(str(tmp_path))


def test_lpips_takes_the_released_files(tmp_path: Path) -> None:
    """alex.pth is the package's own, with its real weights."""
    import lpips

    from operators.shared.metrics import LPIPS_FILES, Lpips

    alexnet, heads = LPIPS_FILES
    _pickled("lpips-alexnet", tmp_path, alexnet)
    (tmp_path / heads).write_bytes((Path(lpips.__file__).parent / "weights/v0.1/alex.pth").read_bytes())
    Lpips(tmp_path, "cpu")


def test_the_aesthetic_head_takes_the_released_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from operators.models import embedders

    asked: list[str] = []
    stand_in: Callable[[str, str], None] = lambda folder, device: asked.append(folder)  # noqa: E731
    monkeypatch.setattr(embedders, "Clip", stand_in)
    _pickled("aesthetic", tmp_path, embedders.AESTHETIC_FILE)
    head = embedders.Aesthetic(str(tmp_path), "cpu")
    assert [weight.shape for weight, _ in head._layers] == [(1024, 768), (128, 1024), (64, 128), (16, 64), (1, 16)]
    assert asked == [str(tmp_path / "ViT-L-14")]
