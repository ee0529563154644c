"""Tiny random FLUX and Stable Cascade checkpoints, in the real ones' classes and files.

Random networks of diffusers' default initialisation give the same grey picture for every prompt and seed. These are
scaled so that both show. Stage C and B predict noise: a network that predicts anything else is amplified, step by
step, into saturated pictures, so these pass their input through and add a small part that depends on the prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDPMWuerstchenScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableCascadeDecoderPipeline,
    StableCascadePriorPipeline,
    StableCascadeUNet,
)
from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from infra.tiny.tokenizers import clip_tokenizer, t5_tokenizer
from operators.models.cascade import (
    EFFNET_FILE,
    LATENT_CHANNELS,
    PREVIEWER_FILE,
    STAGE_A_SCALE,
    STAGES,
    effnet_backbone,
    previewer_blocks,
)

SIDE_PX = 128
"""Side of the pictures that the tiny FLUX makes: 8 x 8 tokens."""

_WIDTH = 32
_CONSTANT = 20.0
"""The value of the constant channels: far above an input's values, which are about 1."""


def write_flux(folder: Path, kind: Any = FluxPipeline) -> None:
    """Pictures of SIDE_PX, which its VAE's config names, as FLUX.1's names 1,024. `kind` may be FluxKontextPipeline."""
    torch.manual_seed(0)
    tokenizer, tokenizer_2 = clip_tokenizer(), t5_tokenizer(64)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE_PX,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=_WIDTH,
        pooled_projection_dim=_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )
    with torch.no_grad():
        # Each latent channel is to move a colour by as much as the picture can take.
        _standardise(vae.decoder.conv_out, lambda: vae.decode(torch.randn(4, 4, 16, 16) / 0.3611), 0.4)
        transformer.proj_out.weight.mul_(4)
        # So that the prompt is seen, and not only the seed.
        transformer.context_embedder.weight.mul_(8)
        transformer.time_text_embed.text_embedder.linear_1.weight.mul_(8)
    pipe = kind(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        text_encoder=_clip_text(CLIPTextModel, tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=len(tokenizer_2), d_model=_WIDTH, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
        ),
        tokenizer_2=tokenizer_2,
        transformer=transformer,
    )
    pipe.save_pretrained(folder)


def write_cascade(prior_folder: Path, decoder_folder: Path) -> None:
    """Both repositories of Stable Cascade; the second holds the EfficientNet and the previewer too."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    text_encoder = _clip_text(CLIPTextModelWithProjection, tokenizer)
    vision = CLIPVisionConfig(
        hidden_size=_WIDTH,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=224,
        patch_size=32,
        projection_dim=_WIDTH,
    )
    prior = StableCascadeUNet(
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        timestep_ratio_embedding_dim=16,
        conditioning_dim=_WIDTH,
        block_out_channels=(2 * _WIDTH, 2 * _WIDTH),
        num_attention_heads=(4, 4),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        clip_text_in_channels=_WIDTH,
        clip_text_pooled_in_channels=_WIDTH,
        clip_image_in_channels=_WIDTH,
        switch_level=(False,),
    )
    decoder = StableCascadeUNet(
        in_channels=4,
        out_channels=4,
        timestep_ratio_embedding_dim=16,
        patch_size=2,
        conditioning_dim=_WIDTH,
        block_out_channels=(2 * _WIDTH,),
        num_attention_heads=(-1,),
        down_num_layers_per_block=(1,),
        up_num_layers_per_block=(1,),
        down_blocks_repeat_mappers=(1,),
        up_blocks_repeat_mappers=(1,),
        block_types_per_layer=(("SDCascadeResBlock", "SDCascadeTimestepBlock"),),
        clip_text_pooled_in_channels=_WIDTH,
        effnet_in_channels=LATENT_CHANNELS,
        pixel_mapper_in_channels=3,
        timestep_conditioning_type=("sca",),
    )
    vqgan = PaellaVQModel(bottleneck_blocks=1, embed_dim=16, num_vq_embeddings=16)
    with torch.no_grad():
        _pass_through(prior, 1.0, 0.2)
        _pass_through(decoder, 1.04, 0.1)
        for module in vqgan.up_blocks.modules():  # without a pattern of their own, which would be all one sees
            if isinstance(module, nn.ConvTranspose2d):
                module.weight.copy_(module.weight.mean((2, 3), keepdim=True).expand_as(module.weight))
        out = vqgan.out_block[0]
        out.weight.copy_(out.weight[::4].repeat_interleave(4, 0))
        out.bias.zero_()
        _standardise(vqgan.out_block[0], lambda: vqgan.decode(STAGE_A_SCALE * torch.randn(4, 4, 16, 16)), 0.3, 0.5)
    StableCascadePriorPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        prior=prior.eval(),
        scheduler=DDPMWuerstchenScheduler(),
        feature_extractor=CLIPImageProcessor(),
        image_encoder=CLIPVisionModelWithProjection(vision),
    ).save_pretrained(prior_folder)
    StableCascadeDecoderPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        decoder=decoder.eval(),
        scheduler=DDPMWuerstchenScheduler(),
        vqgan=vqgan.eval(),
    ).save_pretrained(decoder_folder)
    index = decoder_folder / "model_index.json"
    # As published; the name that diffusers 0.42 writes is one that it cannot read.
    index.write_text(
        index.read_text().replace('"diffusers",\n    "PaellaVQModel"', '"wuerstchen",\n    "PaellaVQModel"')
    )
    with torch.no_grad():
        _write_effnet_and_previewer(decoder_folder)


def _clip_text(kind: Any, tokenizer: Any) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return kind(config)


def _pass_through(network: Any, gain: float, share: float) -> None:
    """Make a stage B or C network predict its input, times `gain`, and add a little that depends on the conditions.

    Text and images are heard through stage C's attention, latents through stage B's mapper; `share` is how loud. The
    other blocks are all but silenced. Layer norms would make all inputs equally large: two more channels with a large
    constant keep them from it.
    """
    config = network.config
    inputs, width = config.in_channels * config.patch_size**2, config.block_out_channels[0]
    pairs = torch.eye(width)[: 2 * inputs].reshape(2, inputs, width)  # each input at two places, with both signs
    signed, used = pairs[0] - pairs[1], 2 * inputs + 2
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif name.endswith("attention.to_out.0.weight"):
            parameter.mul_(share)
        elif "channelwise.4" in name or (".mapper" in name and "blocks" in name):
            parameter.mul_(1e-3)
        elif name.startswith(("down_downscalers.1.1", "up_upscalers.0.1")):
            parameter.copy_(torch.eye(width)[:, :, None, None])
    network.embedding[1].weight.copy_(signed.T[:, :, None, None])
    network.embedding[1].bias[used - 2 : used] = torch.tensor([_CONSTANT, -_CONSTANT])
    # What the first norm does to an input of standard deviation 1.
    scale = (width / (2 * _CONSTANT**2 + 2 * inputs)) ** 0.5
    weight = torch.zeros(inputs, width)
    if config.effnet_in_channels:
        network.effnet_mapper[2].weight[:used] = 0
        network.pixels_mapper[2].weight.zero_()
        scale /= 2**0.5  # of two summands of equal size, one goes to the input's channels
        weight[:, used:] = share * torch.randn(inputs, width - used) / (width - used) ** 0.5
    network.clf[1].weight.copy_((weight + gain / scale * signed / 2)[:, :, None, None])


def _standardise(layer: Any, output: Any, std: float, mean: float = 0.0) -> None:
    """Rescale a decoder's last layer so that each channel of its output has this mean and standard deviation."""
    made = output()
    made = getattr(made, "sample", made)
    # Rounded, so that the order of summation, which depends on the number of threads, does not show.
    found_std, found_mean = (value.bfloat16().float() for value in torch.std_mean(made, (0, 2, 3)))
    repeat = len(layer.bias) // len(found_std)
    scale = (std / found_std).repeat_interleave(repeat)
    layer.weight.mul_(scale[:, None, None, None])
    layer.bias.sub_(found_mean.repeat_interleave(repeat)).mul_(scale).add_(mean)


def _write_effnet_and_previewer(folder: Path) -> None:
    """The EfficientNet narrower and with one block a stage, the previewer with 32 channels of 512."""
    widths, last = (8, 8, 8, 16, 16, 24, 32), 64
    backbone = effnet_backbone(widths, (1,) * len(STAGES), last)
    mapper = nn.Sequential(
        nn.Conv2d(last, LATENT_CHANNELS, 1, bias=False), nn.BatchNorm2d(LATENT_CHANNELS, affine=False)
    )
    effnet = nn.ModuleDict({"backbone": backbone, "mapper": mapper})
    pictures = functional.interpolate(torch.rand(16, 3, 6, 6), size=96, mode="bicubic").clamp(0, 1)
    with _normalising(effnet):
        mapper(backbone(4 * pictures - 2))
    save_file(effnet.state_dict(), folder / EFFNET_FILE)
    blocks = previewer_blocks(32)
    previewer = nn.ModuleDict({"blocks": blocks})
    latents = torch.randn(16, LATENT_CHANNELS, 3, 3)
    with _normalising(previewer):
        blocks(latents)
    _standardise(blocks[-1], lambda: blocks(latents), 0.25, 0.5)
    save_file(previewer.state_dict(), folder / PREVIEWER_FILE)


@contextmanager
def _normalising(network: nn.Module) -> Iterator[None]:
    """While open, a pass through the network sets what its batch norms take for mean and variance."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    yield
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        for value in (norm.running_mean, norm.running_var):
            value.copy_(value.bfloat16())  # as in `_standardise`
    network.eval()
