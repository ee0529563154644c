from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import ChameleonForConditionalGeneration, ChameleonVQVAE, ChameleonVQVAEConfig

from tests.sources import photo
from xprompt_model.vqgan import VQGAN

SMALL: dict[str, Any] = {
    "num_embeddings": 64,
    "embed_dim": 8,
    "latent_channels": 12,
    "resolution": 32,
    "base_channels": 32,
    "channel_multiplier": [1, 2, 2],
    "num_res_blocks": 2,
}


def random_vqgan(**changes: Any) -> VQGAN:
    """Weights with which codes vary, norms included."""
    torch.manual_seed(0)
    vqgan = VQGAN(ChameleonVQVAEConfig(**{**SMALL, **changes}))
    with torch.no_grad():
        for parameter in vqgan.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vqgan


def images(count: int, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("attention", ["vanilla", "none"])
def test_codes_are_those_of_transformers(attention: str) -> None:
    vqgan = random_vqgan(attn_type=attention)
    theirs = ChameleonVQVAE._from_config(vqgan.config).eval()
    encoder = {name: value for name, value in vqgan.state_dict().items() if not name.startswith("decoder.")}
    theirs.load_state_dict(encoder)
    with torch.no_grad():
        expected = theirs.encode(images(4, 32, 48)).image_tokens
    found = vqgan.encode(images(4, 32, 48))
    assert found.shape == (4, 8, 12)
    assert found.flatten().tolist() == expected.tolist()
    assert len(found.unique()) > 20


def test_codes_of_the_tiny_checkpoint_are_those_of_transformers(checkpoint: Path) -> None:
    theirs = ChameleonForConditionalGeneration.from_pretrained(checkpoint).model.vqmodel
    vqgan = VQGAN.load(checkpoint)
    pixels = torch.stack([vqgan.prepare(photo(index, 200, 120)) for index in range(3)])
    with torch.no_grad():
        assert vqgan.encode(pixels).flatten().tolist() == theirs.encode(pixels).image_tokens.tolist()


@pytest.mark.parametrize("attention", ["vanilla", "none"])
def test_decoding_is_what_the_weights_say(attention: str) -> None:
    vqgan = random_vqgan(attn_type=attention)
    codes = torch.randint(0, 64, (2, 8, 8), generator=torch.Generator().manual_seed(2))
    decoded = vqgan.decode(codes)
    assert decoded.shape == (2, 3, 32, 32)
    expected = decode_by_hand({name: value.double() for name, value in vqgan.state_dict().items()}, codes)
    assert (expected.abs() < 1).double().mean() > 0.2 and expected.std() > 0.3
    assert (decoded - expected.clamp(-1, 1)).abs().max() < 1e-4


def decode_by_hand(weights: dict[str, Tensor], codes: Tensor) -> Tensor:
    """The decoder of taming-transformers with the three levels and two blocks of SMALL, straight from the state."""

    def conv(x: Tensor, name: str) -> Tensor:
        kernel = weights[f"{name}.weight"]
        return functional.conv2d(x, kernel, weights[f"{name}.bias"], padding=kernel.shape[-1] // 2)

    def norm(x: Tensor, name: str) -> Tensor:
        grouped = x.reshape(len(x), 32, -1)
        centred = grouped - grouped.mean(2, keepdim=True)
        scaled = centred / (centred.pow(2).mean(2, keepdim=True) + 1e-6).sqrt()
        scale, shift = (weights[f"{name}.{kind}"][None, :, None, None] for kind in ("weight", "bias"))
        return scaled.reshape(x.shape) * scale + shift

    def swish(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))

    def residual(x: Tensor, name: str) -> Tensor:
        h = conv(swish(norm(x, f"{name}.norm1")), f"{name}.conv1")
        h = conv(swish(norm(h, f"{name}.norm2")), f"{name}.conv2")
        return h + (conv(x, f"{name}.nin_shortcut") if f"{name}.nin_shortcut.weight" in weights else x)

    x = weights["quantize.embedding.weight"][codes].permute(0, 3, 1, 2)
    x = conv(conv(x, "post_quant_conv"), "decoder.conv_in")
    x = residual(x, "decoder.mid.block_1")
    if "decoder.mid.attn_1.q.weight" in weights:
        h = norm(x, "decoder.mid.attn_1.norm")
        q, k, v = (conv(h, f"decoder.mid.attn_1.{part}") for part in "qkv")
        scores = torch.einsum("ncij,ncuv->nijuv", q, k) / x.shape[1] ** 0.5
        shares = scores.flatten(3).softmax(3).reshape(scores.shape)
        x = x + conv(torch.einsum("nijuv,ncuv->ncij", shares, v), "decoder.mid.attn_1.proj_out")
    x = residual(x, "decoder.mid.block_2")
    for level in (2, 1, 0):
        for block in (0, 1, 2):
            x = residual(x, f"decoder.up.{level}.block.{block}")
        if level:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = conv(x, f"decoder.up.{level}.upsample.conv")
    return conv(swish(norm(x, "decoder.norm_out")), "decoder.conv_out")


def test_the_real_tokenizer_has_the_tensors_of_metas_checkpoint() -> None:
    with torch.device("meta"):
        ours, theirs = VQGAN(ChameleonVQVAEConfig()), ChameleonVQVAE._from_config(ChameleonVQVAEConfig())
    shapes = {name: tuple(value.shape) for name, value in ours.state_dict().items()}
    decoder = {name: shape for name, shape in shapes.items() if name.startswith("decoder.")}
    assert {name: shape for name, shape in shapes.items() if name not in decoder} == {
        name: tuple(value.shape) for name, value in theirs.state_dict().items()
    }
    assert len(decoder) == 164
    assert sum(int(np.prod(shape)) for shape in decoder.values()) == 39_294_851
    expected = {"decoder.conv_in": (512, 256, 3, 3), "decoder.norm_out": (128,), "decoder.conv_out": (3, 128, 3, 3)}
    widths = {4: (512, 512), 3: (512, 256), 2: (256, 256), 1: (256, 128), 0: (128, 128)}
    for level, (inputs, outputs) in widths.items():
        for block in range(3):
            name, reached = f"decoder.up.{level}.block.{block}", inputs if block == 0 else outputs
            expected |= {f"{name}.norm1": (reached,), f"{name}.conv1": (outputs, reached, 3, 3)}
            expected |= {f"{name}.norm2": (outputs,), f"{name}.conv2": (outputs, outputs, 3, 3)}
            if reached != outputs:
                expected[f"{name}.nin_shortcut"] = (outputs, reached, 1, 1)
        if level:
            expected[f"decoder.up.{level}.upsample.conv"] = (outputs, outputs, 3, 3)
    for name in ("decoder.mid.block_1", "decoder.mid.block_2"):
        expected |= {f"{name}.{part}": (512,) for part in ("norm1", "norm2")}
        expected |= {f"{name}.{part}": (512, 512, 3, 3) for part in ("conv1", "conv2")}
    expected |= {f"decoder.mid.attn_1.{part}": (512, 512, 1, 1) for part in ("q", "k", "v", "proj_out")}
    expected["decoder.mid.attn_1.norm"] = (512,)
    assert decoder == {f"{name}.weight": shape for name, shape in expected.items()} | {
        f"{name}.bias": shape[:1] for name, shape in expected.items()
    }


def test_a_square_is_cut_as_meta_cuts_it() -> None:
    vqgan = random_vqgan()
    for width, height in ((48, 40), (40, 64), (32, 32), (20, 33)):
        pixels = photo(0, width, height)
        scale = 32 / min(width, height)
        resized = Image.fromarray(pixels).resize(
            (round(scale * width), round(scale * height)), Image.Resampling.LANCZOS
        )
        left, top = (resized.width - 32) // 2, (resized.height - 32) // 2
        expected = np.asarray(resized.crop((left, top, left + 32, top + 32))) / 255.0 * 2 - 1
        found = vqgan.prepare(pixels)
        assert found.dtype == torch.float32
        assert np.abs(found.permute(1, 2, 0).numpy() - expected).max() < 1e-6
    with pytest.raises(ValueError, match=r"an image of uint8 \(4, 4\)"):
        vqgan.prepare(np.zeros((4, 4), np.uint8))


def test_codes_of_an_image_do_not_depend_on_its_neighbours() -> None:
    vqgan = random_vqgan()
    together = vqgan.encode(images(3))
    assert all(torch.equal(vqgan.encode(images(3)[i : i + 1])[0], together[i]) for i in range(3))
    with pytest.raises(ValueError, match="images of 32 x 30 px: multiples of 4"):
        vqgan.encode(images(1, 30, 32))


def test_photos_have_codes_of_their_own_and_use_the_codebook(checkpoint: Path) -> None:
    vqgan = VQGAN.load(checkpoint)
    grids = [vqgan.tokenize(photo(index, 160, 160)) for index in range(24)]
    assert grids[0].shape == (4, 4) and grids[0].dtype == np.int64
    assert len({grid.tobytes() for grid in grids}) == 24
    assert len(np.unique(grids)) > 100, "of 384 drawn from 256"
    pictures = [vqgan.picture(grid) for grid in grids]
    assert pictures[0].shape == (64, 64, 3) and pictures[0].dtype == np.uint8
    assert len({picture.tobytes() for picture in pictures}) == 24
    with pytest.raises(ValueError, match="image codes 256 to 256"):
        vqgan.picture(np.full((4, 4), 256))


def test_weights_of_transformers_encode_but_do_not_decode(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "converted")
    (folder / "vqgan.ckpt").unlink()
    whole, half, meta = VQGAN.load(checkpoint), VQGAN.load(folder), VQGAN.load(checkpoint / "vqgan.ckpt")
    assert whole.fingerprint == half.fingerprint == meta.fingerprint
    grid = half.tokenize(photo(0))
    assert np.array_equal(grid, whole.tokenize(photo(0)))
    assert np.array_equal(meta.picture(grid), whole.picture(grid))
    with pytest.raises(ValueError, match=r"have no decoder: put Meta's vqgan\.ckpt beside"):
        half.picture(grid)


def test_a_conversion_to_bfloat16_is_of_the_same_tokenizer_but_has_another_fingerprint(
    checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "converted")
    state = {name: value.bfloat16() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors")
    assert VQGAN.load(folder).fingerprint == VQGAN.load(checkpoint).fingerprint, "Meta's weights are taken"
    (folder / "vqgan.ckpt").unlink()
    assert VQGAN.load(folder).fingerprint != VQGAN.load(checkpoint).fingerprint


def test_the_fingerprint_is_of_what_codes_depend_on(checkpoint: Path) -> None:
    changed = {}
    for name in ("encoder.conv_in.weight", "quantize.embedding.weight", "quant_conv.bias", "decoder.conv_out.bias"):
        vqgan = VQGAN.load(checkpoint)
        vqgan.state_dict()[name].flatten()[0] += 1e-3
        changed[name] = vqgan.fingerprint
    assert changed.pop("decoder.conv_out.bias") == VQGAN.load(checkpoint).fingerprint
    assert len({*changed.values(), VQGAN.load(checkpoint).fingerprint}) == 4


def test_an_encoder_that_gives_no_numbers_gives_no_codes(checkpoint: Path) -> None:
    """argmin would take the first entry whose distance is none for the nearest."""
    vqgan = VQGAN.load(checkpoint)
    side = 4 * vqgan.pixels_per_code
    with pytest.raises(ValueError, match="encoder gives what is no finite number"):
        vqgan.encode(torch.full((1, 3, side, side), torch.nan))


def test_what_is_no_tokenizer_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "vqgan.ckpt").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"not in the format of Meta's vqgan\.ckpt"):
        VQGAN.load(tmp_path / "vqgan.ckpt")
    with pytest.raises(ValueError, match=r"missing\.ckpt is not in the format"):
        VQGAN.load(tmp_path / "missing.ckpt")
    torch.save({"state_dict": {"encoder.conv_in.weight": torch.ones(1)}}, tmp_path / "vqgan.ckpt")
    with pytest.raises(ValueError, match="does not fit the VQ tokenizer"):
        VQGAN.load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has neither vqgan\.ckpt nor"):
        VQGAN.load(tmp_path / "empty")
    folder = shutil.copytree(checkpoint, tmp_path / "two")
    state = torch.load(folder / "vqgan.ckpt", weights_only=True)
    state["state_dict"]["quantize.embedding.weight"] += 1
    torch.save(state, folder / "vqgan.ckpt")
    with pytest.raises(ValueError, match="of different VQ tokenizers"):
        VQGAN.load(folder)
    with pytest.raises(ValueError, match="attn_resolutions or double_latent"):
        random_vqgan(attn_resolutions=[8])


class Malicious:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('unpickled')",))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Malicious()}, tmp_path / "vqgan.ckpt")
    with pytest.raises(ValueError, match="not in the format of Meta's") as caught:
        VQGAN.load(tmp_path / "vqgan.ckpt")
    assert "weights_only" not in str(caught.value)  # the library's advice, which would run it


def test_what_training_left_in_metas_file_is_named_once_and_passed_over(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint / "vqgan.ckpt", weights_only=True)["state_dict"]
    more = {"loss.discriminator.main.0.weight": torch.ones(2), "loss.logvar": torch.ones(1), "ema.decay": torch.ones(1)}
    shutil.copy(checkpoint / "config.json", tmp_path)
    torch.save({"state_dict": {**state, **more, "global_step": 7}, "epoch": 3}, tmp_path / "vqgan.ckpt")
    said = f"^{tmp_path} holds tensors that are not the VQ tokenizer's, left unused: ema.* (1), loss.* (2)$"
    with pytest.warns(UserWarning, match=said.translate({ord(each): f"\\{each}" for each in ".*()"})) as warned:
        found = VQGAN.load(tmp_path)
    assert len(warned) == 1
    assert found.fingerprint == VQGAN.load(checkpoint).fingerprint
    for name in ("encoder.conv_in.bias", "decoder.conv_out.bias", "quantize.embedding.weight"):
        for wrong in ({}, {name: torch.ones(1, 1)}):
            torch.save(
                {"state_dict": {key: value for key, value in state.items() if key != name} | wrong},
                tmp_path / "vqgan.ckpt",
            )
            with pytest.raises(
                ValueError, match=f"does not fit the VQ tokenizer that it should be: .*{re.escape(name)}"
            ):
                VQGAN.load(tmp_path)


def test_codes_are_made_in_full_float32_whatever_the_process_has_set(checkpoint: Path) -> None:
    vqgan, seen = VQGAN.load(checkpoint), []
    vqgan.encoder.register_forward_pre_hook(
        lambda *_: seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic))
    )
    for allowed in (True, False):
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=allowed):
            vqgan.tokenize(photo(0))
    assert seen == [(False, True)] * 2
