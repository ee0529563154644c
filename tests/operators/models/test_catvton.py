"""What a checkpoint says of its training, and a UNet without text against the released processors' formula by hand."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.nn import functional

from operators.models.catvton import FILE, RELEASED, CrossAttention, Trained, without_text
from tests.commands import ROOT
from tests.tiny import tiny_models


def test_a_checkpoint_says_how_it_was_trained(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae/config.json").write_text("{}")
    assert json.loads((_written(tmp_path, RELEASED) / FILE).read_text()) == {
        "axis": "height",
        "cross_attention": "identity",
        "eta": 1.0,
        "vae": "own",
        "height_px": 1024,
        "width_px": 768,
    }
    ours = Trained(axis="width", cross_attention="removed", eta=0.0, vae="base", height_px=512, width_px=384)
    for one, dimension in ((RELEASED, -2), (ours, -1)):
        assert Trained.of(str(_written(tmp_path, one))) == one
        assert one.dimension == dimension


def test_the_readme_shows_the_file_of_the_released_attention() -> None:
    (shown,) = re.findall(r"^```json\n(\{\"axis\".*\})$", (ROOT / "infra/docs/painting.md").read_text(), re.MULTILINE)
    assert json.loads(shown) == asdict(RELEASED)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (None, "is missing: it says how the network was trained"),
        ("{", "is no JSON"),
        ([], "should have axis, cross_attention, eta, vae, height_px, width_px and nothing else"),
        ({"guidance": 2.5}, "and nothing else"),
        ({"eta": ...}, "and nothing else"),
        ({"axis": "y"}, "axis is 'y', it should be 'width' or 'height'"),
        ({"axis": ["width"]}, "axis is ['width'], it should be"),
        ({"cross_attention": None}, "cross_attention is None, it should be 'removed' or 'identity'"),
        ({"vae": "own"}, "vae is 'own', but there is no vae/config.json beside it"),
        ({"eta": 1.5}, "eta is 1.5, it should be a number from 0 to 1"),
        ({"eta": True}, "eta is True"),
        ({"height_px": 500}, "height_px is 500, it should be a multiple of 64"),
        ({"width_px": 0}, "width_px is 0"),
        ({"width_px": 512.0}, "width_px is 512.0"),
    ],
)
def test_one_that_does_not_is_refused_in_a_line(changed: Any, said: str, tmp_path: Path) -> None:
    if isinstance(changed, dict):
        whole = {**asdict(replace(RELEASED, vae="base")), **changed}
        changed = json.dumps({name: value for name, value in whole.items() if value is not ...})
    if changed is not None:
        (tmp_path / FILE).write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        Trained.of(str(tmp_path))
    assert str(error.value).startswith(str(tmp_path / FILE)) and "\n" not in str(error.value)


@pytest.mark.parametrize("cross_attention", ["removed", "identity"])
def test_a_block_adds_what_it_did_when_it_was_trained(cross_attention: CrossAttention) -> None:
    """By hand, h = x + attention(norm1(x)); then norm2(h) is added or not; then the feed-forward network."""
    unet = _unet()
    without_text(unet, cross_attention)
    without_text(unet, cross_attention)  # as a pipeline that is kept is given again
    block = unet.down_blocks[0].attentions[0].transformer_blocks[0]
    weights = block.state_dict()
    x = torch.randn((2, 12, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = block(x)
        h = x + _self_attention(weights, "attn1.", block.attn1.heads, _norm(weights, "norm1.", x))
        if cross_attention == "identity":
            h = h + _norm(weights, "norm2.", h)
        values, gate = _linear(weights, "ff.net.0.proj.", _norm(weights, "norm3.", h)).chunk(2, -1)
        expected = h + _linear(weights, "ff.net.2.", values * functional.gelu(gate))
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)
    other = _unet()
    without_text(other, "removed" if cross_attention == "identity" else "identity")
    with torch.no_grad():
        assert (other.down_blocks[0].attentions[0].transformer_blocks[0](x) - made).abs().max() > 0.1


@pytest.mark.parametrize("shape", [(16, 8), (8, 16)], ids=["below", "beside"])
def test_as_the_identity_a_unet_is_the_released_one(shape: tuple[int, int]) -> None:
    """Its processors, written down here: self-attention by hand, and one in the place of the others that skips."""
    ours, theirs = _unet(), _unet()
    without_text(ours, "identity")
    theirs.set_attn_processor(
        {name: _ByHand() if name.endswith("attn1.processor") else _Skip() for name in theirs.attn_processors}
    )
    latents = torch.randn((1, 9, *shape), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made, expected = (unet(latents, 5, encoder_hidden_states=None).sample for unet in (ours, theirs))
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)


class _Skip:
    def __call__(self, attn: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states


class _ByHand:
    def __call__(self, attn: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return _self_attention(attn.state_dict(), "", attn.heads, hidden_states)


def _self_attention(weights: dict[str, torch.Tensor], at: str, heads: int, x: torch.Tensor) -> torch.Tensor:
    """softmax(q k' / sqrt(d)) v of each head, and the projection behind it."""
    q, k, v = (_linear(weights, f"{at}to_{name}.", x).unflatten(-1, (heads, -1)).transpose(1, 2) for name in "qkv")
    shares = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)
    return _linear(weights, f"{at}to_out.0.", (shares @ v).transpose(1, 2).flatten(2))


def _linear(weights: dict[str, torch.Tensor], at: str, x: torch.Tensor) -> torch.Tensor:
    return x @ weights[f"{at}weight"].T + weights.get(f"{at}bias", torch.zeros(()))


def _norm(weights: dict[str, torch.Tensor], at: str, x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights[f"{at}weight"]
        + weights[f"{at}bias"]
    )


def _unet() -> Any:
    return UNet2DConditionModel.from_pretrained(Path(tiny_models("sd15-tryon")) / "sd15-tryon")


def _written(folder: Path, trained: Trained) -> Path:
    trained.write(folder)
    return folder
