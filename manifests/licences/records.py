"""The table of licences: what each allows of the data under it, and of what a model under it makes. No legal advice.

A record's name is the licence's SPDX id or, where SPDX has none, one of our own that begins with LicenseRef-, as SPDX
asks for. Each term says where it was read; what was not read in the licence itself says "not checked", and a term about
which nothing was found has no value. Where a licence contradicts itself, the stricter clause is the term.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

NOT_CHECKED = "not checked"
"""How the source of a term begins that was not read in the licence itself."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One thing that a licence says."""

    value: bool | None
    """Yes or no; None where it does not say, or is not known."""
    source: str
    """The clause, with its document where that is not the record's, or why there is none."""

    @property
    def checked(self) -> bool:
        return not self.source.startswith(NOT_CHECKED)


TERMS: Mapping[str, str] = {
    "commercial": "use for money is allowed",
    "research": "research that is not for money is allowed",
    "train": "a model may be trained on it",
    "train_competing": "also a model that competes with the one that made it",
    "attribution": "the authors must be named",
    "share_alike": "what is made of it stays under the same terms",
}
"""The terms of a record, in words."""

PERMISSIONS = ("commercial", "research", "train", "train_competing")
DUTIES = ("attribution", "share_alike")


@dataclass(frozen=True, kw_only=True)
class Licence:
    """A licence and its terms."""

    name: str
    """The SPDX id, or one of ours that begins with LicenseRef-."""
    title: str
    url: str
    terms: Mapping[str, Term]
    """What it says of each of TERMS."""
    outputs: str = "nothing said of them"
    """What it says of what a model under it makes, and of training on that: in words."""
    duties_of_outputs: bool = True
    """Whether attribution and share-alike hold for what a model makes too. Those of software are of copies of it."""
    also: tuple[str, ...] = ()
    """Other spellings, by which sources, hubs and users call it."""

    def term(self, name: str) -> Term:
        """The term of a name among TERMS."""
        return self.terms[name]


def _yes(source: str) -> Term:
    return Term(value=True, source=source)


def _no(source: str) -> Term:
    return Term(value=False, source=source)


def _unsaid(source: str) -> Term:
    return Term(value=None, source=source)


def _terms(
    *, commercial: Term, research: Term, train: Term, train_competing: Term, attribution: Term, share_alike: Term
) -> dict[str, Term]:
    """Terms that were read each in its place."""
    values = (commercial, research, train, train_competing, attribution, share_alike)
    return dict(zip(TERMS, values, strict=True))


def _of(names: Mapping[str, bool | None], source: str) -> dict[str, Term]:
    """Terms that were read in one place."""
    return {name: Term(value=value, source=source) for name, value in names.items()}


_FREE: Mapping[str, bool | None] = {
    **dict.fromkeys(PERMISSIONS, True),
    **dict.fromkeys(DUTIES, False),
}
_SILENT: Mapping[str, bool | None] = dict.fromkeys(TERMS)
_RESEARCH_ALONE: Mapping[str, bool | None] = {**_SILENT, "commercial": False, "research": True, "train": True}


def _creative_commons(kind: str, version: str, *also: str) -> Licence:
    """A licence of Creative Commons by its parts: by, by-sa, by-nc, by-nc-sa, by-nd, by-nc-nd."""
    parts = kind.split("-")
    name = f"CC-{kind.upper()}-{version}"
    url = f"https://creativecommons.org/licenses/{kind}/{version}/legalcode"
    if (kind, version) in (("by", "4.0"), ("by-nc", "4.0")):
        # The texts in LICENSE of OSU-NLP-Group/MagicBrush and of shadow2496/VITON-HD
        grant, naming, alike, nc = "2(a)(1)", "3(a)", "3(a)(4)", "1(i) and 2(a)(1)"
    else:
        grant = naming = alike = nc = f"{NOT_CHECKED}: by its deed"
    no_derivatives = _unsaid(
        f"{NOT_CHECKED}: adapted material must not be shared, and whether a trained model is one is not settled"
    )
    return Licence(
        name=name,
        title=f"Creative Commons {kind.upper()} {version}",
        url=url,
        terms=_terms(
            commercial=_no(nc) if "nc" in parts else _yes(grant),
            research=_yes(grant),
            train=no_derivatives if "nd" in parts else _yes(grant),
            train_competing=no_derivatives if "nd" in parts else _yes(grant),
            attribution=_yes(naming),
            share_alike=Term(value="sa" in parts, source=alike),
        ),
        also=(*also, f"creative commons {kind} {version}", f"cc {kind.replace('-', ' ')} {version}"),
    )


def _software(name: str, title: str, notice: str, *also: str) -> Licence:
    """A permissive licence of software, under which data and models are published too."""
    return Licence(
        name=name,
        title=title,
        url=f"https://spdx.org/licenses/{name}.html",
        terms=_of({**_FREE, "attribution": True}, notice),
        duties_of_outputs=False,
        also=also,
    )


_FLUX_URL = "https://github.com/black-forest-labs/flux/blob/main/model_licenses/LICENSE-FLUX1-dev"
_RAIL_OUTPUTS = (
    "yours, within the uses that attachment A allows; a model that is trained on them to do the same is a derivative, "
    "under the same restrictions"
)


def _rail(name: str, title: str, url: str, read_in: str, outputs: str, *also: str) -> Licence:
    """A responsible-AI licence: any use but those of its attachment A."""
    unread = "" if read_in else f"{NOT_CHECKED}: as CreativeML OpenRAIL-M, "
    return Licence(
        name=name,
        title=title,
        url=url,
        terms=_terms(
            commercial=_yes(f"{unread}6 (The Output You Generate), 5 and attachment A: but for the uses that it lists"),
            research=_yes(f"{unread}6, 5 and attachment A"),
            train=_yes(f"{unread}1 (Derivatives of the Model): a model trained on outputs to do the same is one"),
            train_competing=_yes(
                f"{unread}1 (Derivatives of the Model) and 4: as a derivative, under the same restrictions"
            ),
            attribution=_no(f"{unread}4 asks for notices with copies of the model and its derivatives alone"),
            share_alike=_yes(f"{unread}4: a derivative carries the restrictions of attachment A on"),
        ),
        outputs=outputs,
        also=also,
    )


_RECORDS = (
    Licence(
        name="CC0-1.0",
        title="Creative Commons Zero 1.0",
        url="https://creativecommons.org/publicdomain/zero/1.0/legalcode",
        terms=_of(_FREE, "2, waiver"),
        also=("CC0", "cc-zero"),
    ),
    Licence(
        name="LicenseRef-public-domain",
        title="public domain",
        url="https://creativecommons.org/publicdomain/mark/1.0/",
        terms=_of(_FREE, "nobody holds a copyright"),
        also=("public domain", "PDM-1.0", "pddl"),
    ),
    _creative_commons("by", "2.0"),
    _creative_commons("by", "3.0"),
    _creative_commons("by", "4.0"),
    _creative_commons("by-sa", "2.0"),
    _creative_commons("by-sa", "3.0"),
    _creative_commons("by-sa", "4.0"),
    _creative_commons("by-nc", "2.0"),
    _creative_commons("by-nc", "3.0"),
    # README.md of https://github.com/shadow2496/VITON-HD, whose source record adds "research use only"
    _creative_commons("by-nc", "4.0", "CC-BY-NC-4.0, research use only"),
    _creative_commons("by-nc-sa", "3.0"),
    _creative_commons("by-nc-sa", "4.0"),
    _creative_commons("by-nd", "4.0"),
    _creative_commons("by-nc-nd", "4.0"),
    _software("MIT", "MIT License", "the notice must be in copies; any use is allowed"),
    _software("Apache-2.0", "Apache License 2.0", "2 (any use) and 4 (notices)", "apache 2.0", "apache license 2.0"),
    _software("BSD-2-Clause", "BSD 2-Clause License", "any use; 1 and 2: the notice"),
    _software("BSD-3-Clause", "BSD 3-Clause License", "any use; 1 and 2: the notice"),
    Licence(
        name="ODC-By-1.0",
        title="Open Data Commons Attribution 1.0",
        url="https://opendatacommons.org/licenses/by/1-0/",
        terms=_of(
            {**_FREE, "attribution": True}, f"{NOT_CHECKED}: by its summary; it is of the database, not its contents"
        ),
        also=("odc-by",),
    ),
    Licence(
        name="ODbL-1.0",
        title="Open Database License 1.0",
        url="https://opendatacommons.org/licenses/odbl/1-0/",
        terms=_of(
            {**_FREE, "attribution": True, "share_alike": True},
            f"{NOT_CHECKED}: by its summary; it is of the database, not its contents",
        ),
        also=("odbl",),
    ),
    Licence(
        name="CDLA-Permissive-2.0",
        title="Community Data License Agreement, Permissive 2.0",
        url="https://cdla.dev/permissive-2-0/",
        terms=_of({**_FREE, "attribution": True}, f"{NOT_CHECKED}: by its summary"),
    ),
    Licence(
        name="LicenseRef-FLUX.1-dev",
        title="FLUX.1 [dev] Non-Commercial License v1.1.1",
        url=_FLUX_URL,
        terms=_terms(
            commercial=_no("4(a): none of any data that the model produced, though 2(d) allows it; 1(c): nor to train"),
            research=_yes("1(c) and 2(a)"),
            train=_yes("2(d): but for competitors"),
            train_competing=_no("2(d): no model that competes with FLUX.1 [dev] or FLUX.1 Kontext [dev]"),
            attribution=_no(
                "2(d) and 3: notices are of the model; 2(e): to be marked as made by AI where law asks for it"
            ),
            share_alike=_no("1(a): outputs are no derivatives"),
        ),
        outputs="yours for any purpose, but not to train a model that competes with FLUX.1 [dev] or Kontext; they are "
        "to be filtered or reviewed, and marked as made by AI; clause 4(a) forbids commercial use of them nevertheless",
        also=(
            "FLUX.1 [dev] non-commercial",
            "FLUX.1-dev Non-Commercial License",
            "flux-1-dev-non-commercial-license",
        ),
    ),
    _rail(
        "LicenseRef-CreativeML-OpenRAIL-M",
        "CreativeML Open RAIL-M (2022-08-22)",
        "https://github.com/CompVis/stable-diffusion/blob/main/LICENSE",
        "CompVis/stable-diffusion",
        _RAIL_OUTPUTS,
        "CreativeML OpenRAIL-M",
        "CreativeML Open RAIL-M",
        "creativeml-openrail-m",
    ),
    _rail(
        "LicenseRef-CreativeML-OpenRAIL++-M",
        "CreativeML Open RAIL++-M (2023-07-26)",
        "https://github.com/Stability-AI/generative-models/blob/main/model_licenses/LICENSE-SDXL1.0",
        "Stability-AI/generative-models",
        "as CreativeML OpenRAIL-M has it",
        "CreativeML OpenRAIL++-M",
        "openrail++",
    ),
    _rail(
        "LicenseRef-OpenRAIL",
        "OpenRAIL, as its hub page says, without a text",
        "https://www.licenses.ai/",
        "",
        "as CreativeML OpenRAIL-M has it",
        "OpenRAIL",
        "openrail-m",
    ),
    Licence(
        name="LicenseRef-Stability-AI-NC-Research",
        title="Stability AI Non-Commercial Research Community License (2023-11-28)",
        url="https://github.com/Stability-AI/StableCascade/blob/master/WEIGHTS_LICENSE",
        terms=_terms(
            commercial=_no("1(a): non-commercial uses alone, of the model and of derivative works"),
            research=_yes("1(a)"),
            train=_yes("1(a), with (Derivative Works): a model based on outputs is one"),
            train_competing=_yes("1(a): as a derivative work, for non-commercial uses"),
            attribution=_no("1(c): with copies of the model and of derivative works"),
            share_alike=_yes("1(c): a model that is based on outputs stays under the agreement"),
        ),
        outputs="non-commercial research; they are no derivative works, but a model that is based on them is one",
        also=("Stability AI non-commercial research", "sai-nc-community"),
    ),
    Licence(
        name="LicenseRef-Stability-AI-Community",
        title="Stability AI Community License",
        url="https://stability.ai/community-license-agreement",
        terms=_of(
            {**_RESEARCH_ALONE, "train_competing": False, "share_alike": True},
            f"{NOT_CHECKED}: as others quote it; free for less than a million dollars of revenue a year, and nothing "
            "made with it may improve another foundational generative model",
        ),
        outputs="yours; not to create or improve a foundational generative model",
        also=("Stability AI Community", "stabilityai-ai-community"),
    ),
    Licence(
        name="LicenseRef-NVIDIA-SegFormer",
        title="NVIDIA Source Code License for SegFormer",
        url="https://github.com/NVlabs/SegFormer/blob/master/LICENSE",
        terms=_terms(
            commercial=_no("3.3: the work is for research or evaluation alone"),
            research=_yes("3.3"),
            train=_yes("3.3: as research use; nothing said of what the work makes"),
            train_competing=_unsaid("nothing said"),
            attribution=_no("3.1: with copies of the work"),
            share_alike=_no("3.2: of derivative works of the work"),
        ),
        also=("NVIDIA Source Code License for SegFormer: non-commercial",),
    ),
    Licence(
        name="LicenseRef-OpenPose",
        title="OpenPose, academic or non-profit noncommercial research use",
        url="https://github.com/CMU-Perceptual-Computing-Lab/openpose/blob/master/LICENSE",
        terms=_terms(
            commercial=_no("PERMITTED USES: own noncommercial internal research"),
            research=_yes("PERMITTED USES"),
            train=_yes("PERMITTED USES: as research; nothing said of what it finds"),
            train_competing=_unsaid("nothing said"),
            attribution=_unsaid("nothing said of what it finds"),
            share_alike=_unsaid("nothing said of what it finds"),
        ),
    ),
    Licence(
        name="LicenseRef-lllyasviel-Annotators",
        title="the detectors in lllyasviel/Annotators, licence: other",
        url="https://huggingface.co/lllyasviel/Annotators",
        terms=_of(_SILENT, "nothing stated there; of OpenPose's weights, noncommercial research is"),
        outputs="nothing stated; OpenPose's weights are for non-commercial research",
        also=("lllyasviel/Annotators: other",),
    ),
    Licence(
        name="LicenseRef-OpenAI-CLIP",
        title="OpenAI's CLIP: code MIT, none stated of the weights",
        url="https://github.com/openai/CLIP",
        terms=_terms(
            commercial=_unsaid("LICENSE is of the code; model-card.md: any deployed use is out of scope"),
            research=_yes("model-card.md, Intended Use"),
            train=_yes("model-card.md, Intended Use: as research"),
            train_competing=_unsaid("nothing said"),
            attribution=_unsaid("nothing said"),
            share_alike=_unsaid("nothing said"),
        ),
        also=("none stated; code MIT",),
    ),
    Licence(
        name="LicenseRef-OpenAI-outputs",
        title="made by a model of OpenAI's (GPT, DALL-E), under its terms of use",
        url="https://openai.com/policies/row-terms-of-use/",
        terms=_terms(
            commercial=_yes(f"{NOT_CHECKED}: as others quote the terms, you own the output"),
            research=_yes(f"{NOT_CHECKED}: as others quote the terms, you own the output"),
            train=_yes(f"{NOT_CHECKED}: as others quote the terms, but for competitors"),
            train_competing=_no(f"{NOT_CHECKED}: What you cannot do, as others quote it"),
            attribution=_no(f"{NOT_CHECKED}: nobody quotes such a clause"),
            share_alike=_no(f"{NOT_CHECKED}: nobody quotes such a clause"),
        ),
        outputs="yours, but not to develop models that compete with OpenAI",
        also=("OpenAI outputs",),
    ),
    Licence(
        name="LicenseRef-Google-Gemini-outputs",
        title="made by a Gemini model of Google's, under its API's terms",
        url="https://ai.google.dev/gemini-api/terms",
        terms=_terms(
            commercial=_yes(f"{NOT_CHECKED}: as others quote the terms, Google claims no ownership"),
            research=_yes(f"{NOT_CHECKED}: as others quote the terms"),
            train=_yes(f"{NOT_CHECKED}: as others quote the terms, but for competitors"),
            train_competing=_no(f"{NOT_CHECKED}: as others quote the terms"),
            attribution=_no(f"{NOT_CHECKED}: nobody quotes such a clause"),
            share_alike=_no(f"{NOT_CHECKED}: nobody quotes such a clause"),
        ),
        outputs="yours, but not to develop models that compete with Google's",
        also=("Gemini outputs",),
    ),
    Licence(
        name="LicenseRef-Anthropic-outputs",
        title="made by a Claude model of Anthropic's, under its commercial terms",
        url="https://www.anthropic.com/legal/commercial-terms",
        terms=_terms(
            commercial=_yes(f"{NOT_CHECKED}: as others quote the terms, outputs are the customer's"),
            research=_yes(f"{NOT_CHECKED}: as others quote the terms"),
            train=_yes(f"{NOT_CHECKED}: as others quote the terms, but for competitors"),
            train_competing=_no(f"{NOT_CHECKED}: as others quote the terms"),
            attribution=_no(f"{NOT_CHECKED}: nobody quotes such a clause"),
            share_alike=_no(f"{NOT_CHECKED}: nobody quotes such a clause"),
        ),
        outputs="yours, but not to train models that compete with Anthropic's",
        also=("Anthropic outputs",),
    ),
    Licence(
        name="LicenseRef-FiveK",
        title="MIT-Adobe FiveK: LicenseAdobe.txt and LicenseAdobeMIT.txt",
        url="https://data.csail.mit.edu/graphics/fivek/",
        terms=_terms(
            commercial=_no(f"{NOT_CHECKED}: as others quote both files, nothing directed toward commercial advantage"),
            research=_yes(f"{NOT_CHECKED}: as others quote both files, solely for your own research purposes"),
            train=_yes(f"{NOT_CHECKED}: as research"),
            train_competing=_yes(f"{NOT_CHECKED}: nobody quotes such a clause; no model made it"),
            attribution=_yes(f"{NOT_CHECKED}: as others quote both files, notices are to be kept"),
            share_alike=_unsaid("not known"),
        ),
        also=("research use only: LicenseAdobe.txt and LicenseAdobeMIT.txt of the dataset",),
    ),
    Licence(
        name="LicenseRef-ADE20K",
        title="ADE20K's terms of use",
        url="https://ade20k.csail.mit.edu/terms",
        terms=_of(
            _RESEARCH_ALONE,
            f"{NOT_CHECKED}: images for non-commercial research and education; annotations BSD-3-Clause",
        ),
        also=("images for non-commercial research and education; annotations BSD-3-Clause",),
    ),
    Licence(
        name="LicenseRef-ScanNet",
        title="ScanNet's terms of use, on agreement",
        url="http://kaldir.vc.in.tum.de/scannet/ScanNet_TOS.pdf",
        terms=_of(_RESEARCH_ALONE, f"{NOT_CHECKED}: non-commercial research and education"),
        also=("ScanNet terms of use: non-commercial research and education, on agreement",),
    ),
    Licence(
        name="LicenseRef-ImageNet",
        title="ImageNet's terms of access",
        url="https://image-net.org/download.php",
        terms=_of(_RESEARCH_ALONE, f"{NOT_CHECKED}: non-commercial research and education"),
        also=("ImageNet research only",),
    ),
    Licence(
        name="LicenseRef-research-use",
        title="research use, each part under its authors' terms",
        url="https://github.com/swz30/Restormer",
        terms=_of(_RESEARCH_ALONE, f"{NOT_CHECKED}: as those say who collected it; the authors' terms were not found"),
        also=(
            "research use, under its authors' terms",
            "research use; collects Rain800, Rain100H/L, Rain14000 and Rain12 under their authors' terms",
            "research use: DIV2K, Flickr2K, Waterloo Exploration Database and BSD under their authors' terms",
        ),
    ),
    Licence(
        name="LicenseRef-SIDD",
        title="SIDD, as its authors state",
        url="https://abdokamel.github.io/sidd",
        terms=_of(_SILENT, f"{NOT_CHECKED}: its page was not at hand"),
        also=("as its authors state: https://abdokamel.github.io/sidd",),
    ),
    Licence(
        name="LicenseRef-Middlebury-2014",
        title="Middlebury 2014 stereo benchmark",
        url="https://vision.middlebury.edu/stereo/data/scenes2014/",
        terms=_of(_SILENT, "scikit-image's documentation says nothing of its terms; its page was not at hand"),
        also=("Middlebury 2014 stereo benchmark, as redistributed by scikit-image",),
    ),
    Licence(
        name="LicenseRef-web-images",
        title="images of the web that belong to their owners, with URLs and captions under CC-BY-4.0",
        url="https://laion.ai/faq/",
        terms=_of(_SILENT, "each image has terms of its own, which are not recorded"),
        also=("URLs and captions CC-BY-4.0; the images belong to their owners",),
    ),
    Licence(
        name="LicenseRef-none-stated",
        title="no licence stated; used in research",
        url="",
        terms=_of(_SILENT, "its authors state none"),
        also=("none stated; research use", "none stated", "no licence", "no license"),
    ),
    Licence(
        name="LicenseRef-owner",
        title="your own, or as the owner of the photos states",
        url="",
        terms=_of(_SILENT, "only who made it, or has it, can say"),
        also=("as the owner of the photos states", "as the owner of the clips states"),
    ),
    Licence(
        name="LicenseRef-owner-of-the-model",
        title="a model's, as who trained it states",
        url="",
        terms=_of(_SILENT, "only who trained it can say"),
        also=("that of who trained it",),
    ),
    Licence(
        name="LicenseRef-prompts",
        title="words of this project, Apache-2.0, of which models make all images",
        url="https://spdx.org/licenses/Apache-2.0.html",
        terms=_of(_FREE, "LICENSE of this project; what the models' licences add is that of the models"),
        also=("made by models, under their licences: CreativeML OpenRAIL-M or FLUX.1 [dev] non-commercial",),
    ),
)

LICENCES: Mapping[str, Licence] = {one.name: one for one in _RECORDS}
"""Name -> licence."""

UNKNOWN = "unknown"
"""What stands for a licence of which there is no record. No policy allows it."""


def spelled(text: str) -> str:
    """A licence's name as it is looked up: in lower case, words joined by hyphens."""
    return re.sub(r"[ \t\r\n_]+", "-", text.strip(" \t\r\n").lower())


_SEVERAL: Mapping[str, tuple[str, ...]] = {
    "by photo: public domain, CC0-1.0 or CC-BY-2.0 (china.jpg, flower.jpg)": (
        "LicenseRef-public-domain",
        "CC0-1.0",
        "CC-BY-2.0",
    ),
    "public domain and CC0-1.0": ("LicenseRef-public-domain", "CC0-1.0"),
    "made by FLUX.1 [dev] and Stable Cascade, under their non-commercial licences": (
        "LicenseRef-FLUX.1-dev",
        "LicenseRef-Stability-AI-NC-Research",
    ),
    "MIT, OpenAI outputs": ("MIT", "LicenseRef-OpenAI-outputs"),
}
"""What is under several licences at once."""

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    **{spelled(text): (one.name,) for one in _RECORDS for text in (one.name, *one.also)},
    **{spelled(text): names for text, names in _SEVERAL.items()},
}
"""A licence as sources, hubs and users spell it, `spelled` -> the names of its records."""

SOURCES: Mapping[str, tuple[str, ...]] = {
    # Instructions: GPT-4; images: DALL-E 3. arXiv 2404.09990, abstract
    "HQ-Edit": ("LicenseRef-OpenAI-outputs",),
    # Images: gpt-image-1. arXiv 2507.21033, abstract
    "GPT-Image-Edit-1.5M": ("LicenseRef-OpenAI-outputs",),
    # Images: Nano-Banana, that is Gemini 2.5 Flash Image; instructions: Gemini. arXiv 2510.19808, abstract
    **dict.fromkeys(
        ("Pico-Banana-400K", "Pico-Banana-400K-multi-turn", "Pico-Banana-400K-preference"),
        ("LicenseRef-Google-Gemini-outputs",),
    ),
    # Images: FLUX.1 [dev]; descriptions: GPT-4o. arXiv 2411.15098, section 3.4
    "Subjects200K": ("LicenseRef-FLUX.1-dev", "LicenseRef-OpenAI-outputs"),
    # Instructions: GPT-3; images: Stable Diffusion 1.5. README.md of timothybrooks/instruct-pix2pix, Generated Dataset
    "InstructPix2Pix": ("LicenseRef-OpenAI-outputs", "LicenseRef-CreativeML-OpenRAIL-M"),
    # Images: DALL-E 2. arXiv 2306.10012, section 3
    "MagicBrush": ("LicenseRef-OpenAI-outputs",),
    # Images: SDXL-Turbo. data_generation/run_sdxl_turbo_p2p_i2i_8gpu.sh of HaozheZhao/UltraEdit; its licence is
    # model_licenses/LICENSE-SDXL-Turbo of Stability-AI/generative-models
    "UltraEdit": ("LicenseRef-Stability-AI-NC-Research",),
}
"""A source whose images or texts models made -> the licences of those models, beside what its authors state. Of
a source that is not here, none is known to us; where a paper is named, the models were not looked up in code."""

MODELS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "flux",
            "black-forest-labs/FLUX.1-dev",
            "flux-ip-adapter",
            "XLabs-AI/flux-ip-adapter",
            "flux-fill",
            "black-forest-labs/FLUX.1-Fill-dev",
            "flux-kontext",
            "black-forest-labs/FLUX.1-Kontext-dev",
            "flux-controlnet-pose",
            "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro",
        ),
        "LicenseRef-FLUX.1-dev",
    ),
    **dict.fromkeys(
        (
            "sd15",
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "sd15-inpaint",
            "stable-diffusion-v1-5/stable-diffusion-inpainting",
        ),
        "LicenseRef-CreativeML-OpenRAIL-M",
    ),
    "sd15-controlnet-openpose": "LicenseRef-OpenRAIL",
    "lllyasviel/control_v11p_sd15_openpose": "LicenseRef-OpenRAIL",
    "marigold-normals": "LicenseRef-CreativeML-OpenRAIL++-M",
    "prs-eth/marigold-normals-v1-1": "LicenseRef-CreativeML-OpenRAIL++-M",
    "sd15-tryon": "LicenseRef-owner-of-the-model",
    **dict.fromkeys(
        ("stable-cascade-prior", "stabilityai/stable-cascade-prior", "stable-cascade", "stabilityai/stable-cascade"),
        "LicenseRef-Stability-AI-NC-Research",
    ),
    **dict.fromkeys(
        (
            "sd15-ip-adapter",
            "h94/IP-Adapter",
            "dino",
            "facebook/dino-vits16",
            "aesthetic",
            "blazepose",
            "dwpose",
            "yzd-v/DWPose",
            "qwen2-vl",
            "Qwen/Qwen2-VL-7B-Instruct",
            "depth-anything",
            "depth-anything/Depth-Anything-V2-Small-hf",
        ),
        "Apache-2.0",
    ),
    "csd": "MIT",
    "yuxi-liu-wired/CSD": "MIT",
    "lpips": "BSD-2-Clause",
    **dict.fromkeys(
        (
            "flux-ip-adapter-image-encoder",
            "openai/clip-vit-large-patch14",
            "clip",
            "timm/vit_base_patch32_clip_224.openai",
        ),
        "LicenseRef-OpenAI-CLIP",
    ),
    "segformer-ade20k": "LicenseRef-NVIDIA-SegFormer",
    "nvidia/segformer-b5-finetuned-ade-640-640": "LicenseRef-NVIDIA-SegFormer",
    **dict.fromkeys(("openpose", "hed", "mlsd", "lllyasviel/Annotators"), "LicenseRef-lllyasviel-Annotators"),
}
"""A model as a step names it, by its hub id or, of a folder, by its role -> its licence. A folder of MODELS is taken to
hold the checkpoint of the model table, and so is that of MODELS=tiny, though random weights have no licence.
"""

MODEL_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"^(?:openai/)?(?:chatgpt-|gpt-3|gpt-4|gpt-5|gpt-image|dall-e|(?:o1|o3|o4)(?:-|$))", "LicenseRef-OpenAI-outputs"),
    (r"^(?:google/|models/)?gemini-", "LicenseRef-Google-Gemini-outputs"),
    (r"^(?:anthropic/)?claude-", "LicenseRef-Anthropic-outputs"),
)
"""Beginnings of names of models that are served under terms of their service -> those terms, in this order."""
