"""Size and sha256 of released files, as others published them: what a download is compared with.

Only files are here of which somebody states the figures for the very file, in a list, in code that downloads it, or in
a Git LFS pointer. A size or a sha256 that nobody states is None. Not found: flux's transformer, all of flux-fill's,
csd, dino, qwen2-vl, stable-cascade-prior, marigold-normals (but of its files in half precision), and what
stable-cascade has for diffusers at the table's revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Published:
    """A released file."""

    size_bytes: int | None
    sha256: str | None


def _file(size_bytes: int | None, sha256: str | None = None) -> Published:
    return Published(size_bytes=size_bytes, sha256=sha256)


_T5 = "text_encoder_2/model-0000{}-of-00002.safetensors"
_KONTEXT = "transformer/diffusion_pytorch_model-0000{}-of-00003.safetensors"

# Git LFS pointers in https://github.com/allenshore989/FLUX.1-schnell, which has [dev]'s encoders and VAE; the same
# sha256 of Kontext's are in lists of who downloaded it.
_FLUX_SHARED = {
    "text_encoder/model.safetensors": _file(
        246_144_352, "893d67a23f4693ed42cdab4cbad7fe3e727cf59609c40da28a46b5470f9ed082"
    ),
    _T5.format(1): _file(4_994_582_224, "ec87bffd1923e8b2774a6d240c922a41f6143081d52cf83b8fe39e9d838c893e"),
    _T5.format(2): _file(4_530_066_360, "a5640855b301fcdbceddfa90ae8066cd9414aff020552a201a255ecf2059da00"),
    "vae/diffusion_pytorch_model.safetensors": _file(
        167_666_902, "f5b59a26851551b67ae1fe58d32e76486e1e812def4696a4bea97f16604d40a3"
    ),
}

PUBLISHED: Mapping[str, Mapping[str, Published]] = {
    "flux": _FLUX_SHARED,
    "flux-kontext": {
        **_FLUX_SHARED,
        _KONTEXT.format(1): _file(None, "5414f9ba3d3945512769b1b5ecd41122c8bcfebb7ec906a3ac60daf371d38946"),
        _KONTEXT.format(2): _file(None, "a6fa67a12833c30040f794365a187cac8eef2e467152b84319034ae2828d9d03"),
        _KONTEXT.format(3): _file(None, "464f5343b6b06a2337d8c34b72ebec38219ebbfb7aafecbc9b342dc031417e7a"),
    },
    # A public script that downloads it at this revision states the sha256.
    "flux-ip-adapter": {
        "ip_adapter.safetensors": _file(None, "750f912149b84bbb0c2a6ce90ffa7e78afd1795821407718724ebcd36372dc2d")
    },
    # Several scripts that download it at this revision.
    "flux-ip-adapter-image-encoder": {
        "model.safetensors": _file(1_710_540_580, "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb")
    },
    # The list of files of https://github.com/metercai/SimpleSDXL.
    "flux-controlnet-pose": {"diffusion_pytorch_model.safetensors": _file(6_603_953_920)},
    # Git LFS pointers in https://github.com/HDRJ-One/runwayml-stable-diffusion-v1-5.
    "sd15": {
        "unet/diffusion_pytorch_model.safetensors": _file(
            3_438_167_540, "19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1"
        ),
        "vae/diffusion_pytorch_model.safetensors": _file(
            334_643_276, "a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c"
        ),
        "text_encoder/model.safetensors": _file(
            492_265_874, "d008943c017f0092921106440254dbbe00b6a285f7883ec8ba160c3faad88334"
        ),
        "safety_checker/model.safetensors": _file(
            1_215_981_830, "9d6a233ff6fd5ccb9f76fd99618d73369c52dd3d8222376384d0e601911089e8"
        ),
    },
    # Git LFS pointers in https://github.com/altayavci/OutfitChanger; https://github.com/Acly/krita-ai-diffusion,
    # ai_diffusion/presets/models.json.
    "sd15-ip-adapter": {
        "models/ip-adapter_sd15.safetensors": _file(
            44_642_768, "289b45f16d043d0bf542e45831f971dcdaabe18b656f11e86d9dfba7e9ee3369"
        ),
        "models/image_encoder/model.safetensors": _file(
            2_528_373_448, "6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030"
        ),
    },
    # Lists of two scripts that download it.
    "sd15-controlnet-openpose": {"diffusion_pytorch_model.safetensors": _file(1_445_157_120)},
    # Git LFS pointers in https://github.com/jack-op11/stable-diffusion-inpainting.
    "sd15-inpaint": {
        "unet/diffusion_pytorch_model.bin": _file(
            3_438_412_325, "af4e22eecaca7a1c5dd849f51924effdccc1f765141e898c323b775cc80a43b3"
        ),
        "vae/diffusion_pytorch_model.bin": _file(
            334_707_217, "1b134cded8eb78b184aefb8805b6b572f36fa77b255c483665dda931fa0130c5"
        ),
        "text_encoder/pytorch_model.bin": _file(
            492_305_335, "770a47a9ffdcfda0b05506a7888ed714d06131d60267e6cf52765d61cf59fd67"
        ),
        "safety_checker/pytorch_model.bin": _file(
            1_216_061_799, "193490b58ef62739077262e833bf091c66c29488058681ac25cf7df3d8190974"
        ),
    },
    # Git LFS pointers in https://github.com/Zumwaltboi68/Stable-Cascade, of February 2024: the two files that the
    # repository's later conversion for diffusers left as they were.
    "stable-cascade": {
        "effnet_encoder.safetensors": _file(
            81_506_763, "e23c1fe17ba8cdd6c49a5b292d72502bd4cf729e7de9f2060bb4dcc26737c0a0"
        ),
        "previewer.safetensors": _file(15_954_183, "7d66285b840aaaf69abe809727f0b02657c513dd9376f2f07f3c3ba4fe87f250"),
    },
    # Several scripts that download it at this revision.
    "clip": {
        "open_clip_model.safetensors": _file(
            605_143_284, "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31"
        )
    },
    # The package lpips 0.1.4; torchvision has the first digits of the sha256 in the name of the other file.
    "lpips": {"alex.pth": _file(6_009, "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0")},
    # Several scripts that download it from https://github.com/christophschuhmann/improved-aesthetic-predictor.
    "aesthetic": {
        "sac+logos+ava1-l14-linearMSE.pth": _file(
            3_714_759, "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0"
        )
    },
    # Lists of who downloads https://huggingface.co/lllyasviel/Annotators at this revision.
    "openpose": {
        "body_pose_model.pth": _file(209_267_595, "25a948c16078b0f08e236bda51a385d855ef4c153598947c28c0d47ed94bb746"),
        "hand_pose_model.pth": _file(147_341_049, "b76b00d1750901abd07b9f9d8c98cc3385b8fe834a26d4b4f0aad439e75fc600"),
        "facenet.pth": _file(153_718_792, "8beb52e548624ffcc4aed12af7aee7dcbfaeea420c75609fee999fe7add79d43"),
    },
    "hed": {"ControlNetHED.pth": _file(29_444_406, "5ca93762ffd68a29fee1af9d495bf6aab80ae86f08905fb35472a083a4c7a8fa")},
    "mlsd": {
        "mlsd_large_512_fp32.pth": _file(6_341_481, "5696f168eb2c30d4374bbfd45436f7415bb4d88da29bea97eea0101520fba082")
    },
    # Several scripts that download https://huggingface.co/yzd-v/DWPose.
    "dwpose": {
        "yolox_l.onnx": _file(216_746_733, "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411"),
        "dw-ll_ucoco_384.onnx": _file(134_399_116, "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843"),
    },
    # Several programs that download it at this revision.
    "depth-anything": {
        "model.safetensors": _file(99_173_660, "3152477ce0d8d6978d76b995120de97cb5b928701fd0f817769f59e249a16b70")
    },
    # A public script that downloads it at this revision states the sha256.
    "segformer-ade20k": {
        "pytorch_model.bin": _file(None, "a3dbf2d7a9912203078f304d88df8cfee9fd752ca2d2413f82036bdb02c5e7df")
    },
}
"""Role -> file in its repository -> what is published of it."""
