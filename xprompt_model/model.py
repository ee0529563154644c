"""Chameleon's transformer, made of transformers' layers, with learnable X-Prompt embeddings and image logits unmasked.

transformers' own model overwrites the logits of all image tokens with the smallest float, and so cannot learn or
generate images; it also holds a VQ tokenizer, which this one leaves to `vqgan.py`. Everything else is the same: the
parameters have the names of a `ChameleonForConditionalGeneration` checkpoint, less `model.vqmodel.*`, plus `xp`.

A rank's FSDP root must hold `xp`, the embeddings and `lm_head` (wrap `blocks` one by one, then the model): the loss
calls the head once per chunk of targets, and how many chunks there are differs by rank. Whoever calls `loss` rather
than the model registers it: `torch.distributed.fsdp.register_fsdp_forward_method(model, "loss")`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask
from torch.utils.checkpoint import checkpoint
from transformers import ChameleonConfig
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.chameleon.modeling_chameleon import (
    ChameleonDecoderLayer,
    ChameleonRMSNorm,
    ChameleonSwinDecoderLayer,
)

from xprompt_model.arm import DEFAULT_ARM, Arm
from xprompt_model.batch import MicroBatch
from xprompt_model.cache import Cache
from xprompt_model.checkpoint import XP_KEY, read_checkpoint, read_config, write_checkpoint
from xprompt_model.layout import XP, XP_TOKENS
from xprompt_model.mask import Mask
from xprompt_model.rope import inverse_frequencies, refuse_unknown_rope, window_tokens
from xprompt_model.vocabulary import Vocabulary

CHUNK_TARGETS = 1_024
"""Targets whose logits exist at once: 65,536 float32 logits each are 268 MB, against 1.3 GB for a window's."""

_ATTENTION = "xprompt"

_HEAD_NORMS = tuple(f"self_attn.{of}_norm.{kind}" for of in "qk" for kind in ("weight", "bias"))


class LossParts(NamedTuple):
    """Sums over a micro-batch, scalars. A tuple, so that FSDP finds the tensors that need gradients.

    The caller divides by the weights of all micro-batches of a step, not of one: else tokens of a micro-batch with few
    targets would count more.
    """

    text_nll: Tensor
    """Sum of weight x negative log-likelihood, nats, over targets that are text."""
    image_nll: Tensor
    """The same over the tokens of image blocks."""
    z: Tensor
    """Sum of weight x squared logarithm of the softmax's denominator, over all targets."""
    text_weight: Tensor
    """Sum of the weights of the targets that are text."""
    image_weight: Tensor
    token_nll: Tensor
    """Weight x negative log-likelihood of each token, [T], without gradient: for losses by document."""

    @property
    def weight(self) -> Tensor:
        """Sum of all weights."""
        return self.text_weight + self.image_weight


class XPromptChameleon(nn.Module):
    """Chameleon with S X-Prompt embeddings. Build it from a checkpoint with `from_pretrained`, or at random."""

    def __init__(self, config: ChameleonConfig, *, xp_tokens: int = XP_TOKENS) -> None:
        """Random weights, from PyTorch's generator. On the meta device: none.

        Raises ValueError if the config is not one of a Chameleon checkpoint.
        """
        super().__init__()
        refuse_unknown_rope(config)
        self.config = ChameleonConfig.from_dict(config.to_dict())
        self.config._attn_implementation = _ATTENTION
        self.vocabulary = Vocabulary.from_config(config)
        # Neither a parameter nor a buffer: nothing that to_empty() could turn into garbage.
        self._in_image_block = torch.from_numpy(self.vocabulary.in_image_block)
        layer = ChameleonSwinDecoderLayer if config.swin_norm else ChameleonDecoderLayer
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id),
                "layers": nn.ModuleList(layer(self.config, index) for index in range(config.num_hidden_layers)),
                "norm": ChameleonRMSNorm(config.hidden_size, eps=config.rms_norm_eps),
            }
        )
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.xp = nn.Parameter(torch.empty(xp_tokens, config.hidden_size))
        self.reset_parameters()

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, for whoever wraps them (FSDP, activation checkpointing) or compiles them."""
        blocks = self.model["layers"]
        assert isinstance(blocks, nn.ModuleList)
        return blocks

    @property
    def embed_tokens(self) -> nn.Embedding:
        embedding = self.model["embed_tokens"]
        assert isinstance(embedding, nn.Embedding)
        return embedding

    @property
    def xp_tokens(self) -> int:
        """S, the number of X-Prompt embeddings."""
        return len(self.xp)

    @property
    def window_tokens(self) -> int:
        """The longest document that the model takes."""
        return window_tokens(self.config)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Normal weights of the config's `initializer_range`, zero biases; norms are born as 1 and 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.initializer_range)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        self.reset_xp()

    @torch.no_grad()
    def reset_xp(self) -> None:
        """X-Prompt embeddings at the mean token embedding, with noise of the embeddings' spread in each dimension."""
        std, mean = torch.std_mean(self.embed_tokens.weight.float(), 0)
        self.xp.copy_(mean + std * torch.randn(self.xp.shape).to(mean))

    def forward(self, batch: MicroBatch, mask: Mask) -> Tensor:
        """Last hidden states, [T, hidden], of a micro-batch under a mask of `mask.py`.

        Positions may pass the 4,096 of Chameleon's config: the paper's window has 5,120. Rotary embeddings are computed
        from the positions as they come, scaled if the config says so: see `rope.py`.
        """
        return self.advance(batch.ids, batch.segment, batch.position, mask)

    def loss(self, batch: MicroBatch, mask: Mask | None) -> LossParts:
        """The sums of a micro-batch's loss: see `LossParts`. Without a mask all of it is causal, across documents.

        Only tokens with a weight reach the head, CHUNK_TARGETS at a time; their logits are computed again on the way
        back. A micro-batch without any gives zeros, with gradients that are zero.
        """
        hidden = self.advance(batch.ids, batch.segment, batch.position, mask)
        chosen = torch.nonzero(batch.weight[1:])[:, 0]
        hidden, targets, weights = hidden[chosen], batch.ids[chosen + 1], batch.weight[chosen + 1]
        nll, z = [], []
        for start in range(0, max(len(targets), 1), CHUNK_TARGETS):
            chunk = slice(start, start + CHUNK_TARGETS)
            found = checkpoint(self._nll, hidden[chunk], targets[chunk], use_reentrant=False)
            nll.append(found[0])
            z.append(found[1])
        weighted = torch.cat(nll) * weights
        is_image = self._in_image_block.to(targets.device)[targets]
        return LossParts(
            text_nll=torch.where(is_image, 0, weighted).sum(),
            image_nll=torch.where(is_image, weighted, 0).sum(),
            z=(torch.cat(z) * weights).sum(),
            text_weight=torch.where(is_image, 0, weights).sum(),
            image_weight=torch.where(is_image, weights, 0).sum(),
            token_nll=torch.zeros_like(batch.weight).index_copy(0, chosen + 1, weighted.detach()),
        )

    def advance(
        self, ids: Tensor, segment: Tensor, position: Tensor, mask: Mask | None, cache: Cache | None = None
    ) -> Tensor:
        """Last hidden states, [n, hidden], of n tokens, behind those whose keys and values `cache` holds.

        `segment` and `position` are [n]. `ids` is [n] too, or [batch, n] for sequences that share the segments: then
        the hidden states are [batch, n, hidden], and `position` may be [batch, n] as well. `mask` is
        [1 or batch, 1, n, cached + n]. None is for one token that sees all of the cache, or n without a cache that are
        causal. `cache` gets the keys and values of the n.
        """
        is_xp = segment == XP
        hidden = self.embed_tokens(torch.where(is_xp, 0, ids))
        xp = functional.embedding(torch.where(is_xp, ids, 0), self.xp)
        hidden = torch.where(is_xp[:, None], xp, hidden).view(-1, len(segment), self.config.hidden_size)
        rotation = self._rotation(position, hidden.dtype)
        for block in self.blocks:
            (hidden,) = block(hidden, attention_mask=mask, cache=cache, position_embeddings=rotation)
        normed: Tensor = self.model["norm"](hidden)
        return normed.view(*ids.shape, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits, [n, vocabulary], of hidden states, [n, hidden]; those of image tokens as they are."""
        logits: Tensor = self.lm_head(hidden)
        return logits.float()

    def _nll(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(hidden)
        log_sum = logits.logsumexp(1)
        return log_sum - logits.gather(1, targets[:, None])[:, 0], log_sum.square()

    def _rotation(self, position: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the rotary embedding of positions, [n] or [batch, n], as transformers computes them.

        They are [1 or batch, n, head_dim] each.

        Computed anew each time, from the positions: a buffer would be garbage after a start on the meta device.
        """
        frequencies, scale = inverse_frequencies(self.config, position.device)
        angle = position[..., None].float() * frequencies
        angle = torch.cat((angle, angle), -1).view(-1, position.shape[-1], 2 * len(frequencies))
        return (angle.cos() * scale).to(dtype), (angle.sin() * scale).to(dtype)

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        *,
        xp_tokens: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> XPromptChameleon:
        """A checkpoint in the format of facebook/chameleon-7b, or one of `save_pretrained`.

        X-Prompt embeddings come from `xprompt.safetensors`; without it they are drawn, `xp_tokens` (default XP_TOKENS)
        of them, by `seed`. Raises ValueError if the folder is not such a checkpoint, lacks or adds weights, or its
        X-Prompt has another size than asked for.
        """
        state = read_checkpoint(folder, dtype=dtype, device=device)
        xp = state.get(XP_KEY)
        if xp is not None and xp_tokens not in (None, len(xp)):
            raise ValueError(f"{folder} has {len(xp)} X-Prompt embeddings, not {xp_tokens}")
        with torch.device("meta"):
            model = cls(read_config(folder), xp_tokens=len(xp) if xp is not None else xp_tokens or XP_TOKENS)
        if xp is None:
            state[XP_KEY] = torch.empty(model.xp.shape, dtype=dtype, device=device)
        _give_each_head_its_norm(state, model)
        try:
            model.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise ValueError(f"{folder} is not a checkpoint of the model its config.json describes: {error}") from None
        for parameter in model.parameters():
            parameter.requires_grad_()
        if xp is None:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                model.reset_xp()
        return model

    def save_pretrained(
        self,
        folder: Path | str,
        *,
        source: Path | str | None = None,
        arm: Arm = DEFAULT_ARM,
        tokenizer: Mapping[str, Any] | None = None,
        context_pixels: int = 0,
        steps: int = 0,
    ) -> None:
        """Write a directory that transformers loads, with the X-Prompt embeddings in a file of their own.

        The tokenizer's files and the VQ tokenizer's weights are copied from `source`, the checkpoint that training
        started from. `arm`, what the model has learned to see of an in-context example, `tokenizer`, what was recorded
        with the tokens it was trained on, `context_pixels`, the side of its in-context images if they were smaller
        than others, and `steps`, how many optimizer steps it was trained for, are kept with the embeddings. Raises
        ValueError if the folder is there.
        """
        write_checkpoint(
            folder,
            self.state_dict(),
            self.config,
            source,
            arm=arm,
            tokenizer=tokenizer,
            context_pixels=context_pixels,
            steps=steps,
        )


def _give_each_head_its_norm(state: dict[str, Tensor], model: nn.Module) -> None:
    """Repeat the norms of queries and keys that heads share, as our parameters, and transformers', have one a head.

    Lumina-mGPT's checkpoints have one for each part of the tensor-parallel original, [parts, head_dim] (its
    modeling_chameleon.py), those that Anole's code trains one for all, [head_dim].
    """
    for name, parameter in model.named_parameters():
        shared = state.get(name)
        if not name.endswith(_HEAD_NORMS) or shared is None or shared.shape == parameter.shape:
            continue
        heads, width = parameter.shape
        if shared.shape[-1] == width and heads * width % shared.numel() == 0:
            state[name] = shared.view(-1, width).repeat_interleave(heads * width // shared.numel(), 0)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Mask | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """transformers' flex_attention for a block mask, its scaled_dot_product_attention for any other."""
    if isinstance(attention_mask, BlockMask):
        return flex_attention_forward(module, query, key, value, attention_mask, **kwargs)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


ALL_ATTENTION_FUNCTIONS.register(_ATTENTION, _attend)
