from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from transformers import ChameleonConfig, ChameleonForConditionalGeneration

import xprompt_model.model
from infra.tiny.chameleon import special_tokens
from tests.xprompt_model.small import batch_of, build, changed, document, small_config, small_model, turn
from xprompt_model.layout import TD, Weights
from xprompt_model.mask import dense_mask
from xprompt_model.model import XPromptChameleon

REAL: dict[str, dict[str, Any]] = {
    "7b": {},
    "34b": {
        "hidden_size": 8_192,
        "intermediate_size": 22_016,
        "num_hidden_layers": 48,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "swin_norm": True,
    },
}


def theirs(model: XPromptChameleon) -> Any:
    """transformers' model with the same weights."""
    config = ChameleonConfig.from_dict(model.config.to_dict())
    config._attn_implementation = "eager"
    other = ChameleonForConditionalGeneration(config).eval()
    state = {name: value for name, value in model.state_dict().items() if name != "xp"}
    missing, unexpected = other.load_state_dict(state, strict=False)
    assert unexpected == [] and all(name.startswith("model.vqmodel.") for name in missing)
    return other


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [{}, {"swin_norm": True, "num_key_value_heads": 2}, {"max_position_embeddings": 16}],
    ids=["as 7B", "as 34B", "positions beyond the config's"],
)
def test_without_a_context_it_is_transformers_model(changes: dict[str, Any]) -> None:
    model = small_model(**changes)
    other, batch = theirs(model), batch_of(document(0, context=False))
    hidden = model(batch, dense_mask(batch))
    output = other(input_ids=batch.ids[None], output_hidden_states=True)
    their_hidden = output.hidden_states[-1][0]
    assert (hidden - their_hidden).abs().max() < 1e-5
    is_image = torch.zeros(model.vocabulary.size, dtype=torch.bool)
    is_image[torch.from_numpy(model.vocabulary.image_ids)] = True
    logits = model.logits(hidden)
    assert (logits - output.logits[0])[:, ~is_image].abs().max() < 1e-5
    assert (output.logits[0][:, is_image] == torch.finfo(torch.float32).min).all(), "transformers masks them"
    assert (logits - other.lm_head(their_hidden))[:, is_image].abs().max() < 1e-5


@torch.no_grad()
def test_positions_far_beyond_the_config_are_transformers_too() -> None:
    model = small_model()
    batch = batch_of(document(0, context=False))
    far = changed(batch, position=batch.position + 5_000)
    hidden = theirs(model).model(input_ids=batch.ids[None], position_ids=far.position[None]).last_hidden_state[0]
    assert (model(far, dense_mask(far)) - hidden).abs().max() < 1e-5


@pytest.mark.parametrize("name", REAL)
def test_real_sizes_on_the_meta_device_have_the_keys_of_transformers(name: str) -> None:
    config = ChameleonConfig(vocabulary_map=special_tokens(8_192), **REAL[name])
    with torch.device("meta"):
        ours, other = XPromptChameleon(config), ChameleonForConditionalGeneration(config)
    found = {name: value.shape for name, value in ours.state_dict().items()}
    assert found.pop("xp") == (64, config.hidden_size)
    expected = {name: value.shape for name, value in other.state_dict().items() if "vqmodel" not in name}
    assert found == expected
    assert list(ours.buffers()) == [], "to_empty() would turn a buffer into garbage"
    billions = sum(shape.numel() for shape in found.values()) / 1e9
    assert (f"{billions:.3f}" == "7.014") if name == "7b" else (round(billions) == 34)
    assert len(ours.blocks) == config.num_hidden_layers


@torch.no_grad()
def test_with_prompts_counted_the_loss_is_the_cross_entropy_of_every_token_of_td() -> None:
    """The paper's formula, token by token in float64: -log p(token | what of TD is before it, XP)."""
    model = small_model().double()
    weights = Weights(prompt=1.0)
    for describe in (False, True):
        batch = batch_of(build(turn(0, describe=describe), [turn(1, describe=describe)], weights=weights))
        logits = model.logits(model(batch, dense_mask(batch))).double()
        first = int((batch.segment != TD).sum())
        nll = [-logits[place - 1].log_softmax(0)[batch.ids[place]] for place in range(first, len(batch))]
        found = model.loss(batch, dense_mask(batch))
        assert float(found.text_nll + found.image_nll) == pytest.approx(float(sum(nll)), rel=1e-6)
        assert float(found.weight) == len(batch) - first
        by_kind = (6 + 1 + (9 + 1 if describe else 1), 18 * (1 if describe else 2))
        assert (float(found.text_weight), float(found.image_weight)) == by_kind


def test_the_loss_is_the_weighted_cross_entropy_of_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    batch = batch_of(document(0, image=0.5, context_image=0.25), document(3, describe=True, text=2.0), padding=4)
    mask = dense_mask(batch)

    def plain() -> dict[str, Tensor]:
        logits, targets, weights = model.logits(model(batch, mask))[:-1], batch.ids[1:], batch.weight[1:]
        nll = torch.nn.functional.cross_entropy(logits, targets, reduction="none") * weights
        is_image = torch.from_numpy(model.vocabulary.in_image_block)[targets]
        return {
            "text_nll": nll[~is_image].sum(),
            "image_nll": nll[is_image].sum(),
            "z": (logits.logsumexp(1) ** 2 * weights).sum(),
            "text_weight": weights[~is_image].sum(),
            "image_weight": weights[is_image].sum(),
        }

    expected = plain()
    assert expected["text_weight"] == 2 * 10 + 0.5 and expected["image_weight"] == 0.5 * 18 + 0.25 * 18
    (expected["text_nll"] + expected["image_nll"] + 0.1 * expected["z"]).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    for chunk in (1_024, 7):
        monkeypatch.setattr(xprompt_model.model, "CHUNK_TARGETS", chunk)
        model.zero_grad()
        found = model.loss(batch, mask)
        for name, value in expected.items():
            assert torch.allclose(getattr(found, name), value, rtol=1e-5), name
        assert found.weight == 20.5 + 13.5
        (found.text_nll + found.image_nll + 0.1 * found.z).backward()
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            assert parameter.grad is not None and gradient is not None
            assert torch.allclose(parameter.grad, gradient, rtol=1e-3, atol=1e-4)


def test_a_batch_without_targets_has_a_gradient_of_zeros() -> None:
    model = small_model()
    batch = batch_of(document(0, image=0.0), padding=3)
    found = model.loss(batch, dense_mask(batch))
    assert [float(value.detach().sum()) for value in found] == [0.0] * len(found)
    (found.text_nll + found.image_nll + found.z).backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A process group of this process."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fsdp_wraps_it_and_leaves_the_weights_of_the_loss_alone(one_process: None, dtype: torch.dtype) -> None:
    plain, sharded = small_model(), small_model()
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for block in sharded.blocks:
        fully_shard(block, mp_policy=policy)
    fully_shard(sharded, mp_policy=policy)
    register_fsdp_forward_method(sharded, "loss")
    batch = batch_of(document(0, image=0.1), document(3, describe=True, text=1 / 3))
    mask = dense_mask(batch)
    expected, found = plain.loss(batch, mask), sharded.loss(batch, mask)
    assert all(value.dtype == torch.float32 for value in found)
    assert torch.equal(found.weight, expected.weight)
    tolerance = 1e-6 if dtype == torch.float32 else 0.05
    assert torch.allclose(found.image_nll, expected.image_nll, rtol=tolerance)
    (expected.text_nll + expected.image_nll).backward()
    (found.text_nll + found.image_nll).backward()
    for theirs, ours in zip(plain.parameters(), sharded.parameters(), strict=True):
        assert isinstance(ours.grad, DTensor) and theirs.grad is not None
        difference = ours.grad.full_tensor() - theirs.grad
        assert difference.norm() <= 2 * tolerance * theirs.grad.norm()


def test_xp_begins_at_the_mean_embedding_with_its_spread() -> None:
    torch.manual_seed(0)
    model = XPromptChameleon(small_config(), xp_tokens=512)
    embeddings = model.embed_tokens.weight
    assert torch.allclose(model.xp.mean(0), embeddings.mean(0), atol=0.005)
    assert torch.allclose(model.xp.std(0), embeddings.std(0), rtol=0.15)
    assert len({tuple(row) for row in model.xp.tolist()}) == 512
