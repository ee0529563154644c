from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from infra.tiny.chameleon import tiny_config
from tests.xprompt_model.small import XP_TOKENS, batch_of, picture, small_model, text, turn, vocabulary
from xprompt_model.generator import Generator
from xprompt_model.layout import IE, NO_EXAMPLE, TD, Document, Turn, build_context, build_prompt
from xprompt_model.mask import dense_mask
from xprompt_model.sampling import IMAGE, Sampling
from xprompt_model.vocabulary import Ids

WORDS = vocabulary()
GREEDY = Sampling(temperature=0)


@torch.no_grad()
def next_logits(context: Turn | None, answer: Ids, *, causal: bool = False, prompt: Ids | None = None) -> Tensor:
    """Logits after an answer's first tokens, by one pass over the whole document under the training mask, no cache."""
    before = build_context(context, WORDS, xp_tokens=XP_TOKENS)
    asked = build_prompt(text(0), [picture(0)], WORDS).ids if prompt is None else prompt
    ids = np.concatenate((before.ids, asked, answer)).astype(np.int64)
    added = len(asked) + len(answer)
    whole = Document(
        ids=ids,
        segment=np.concatenate((before.segment, np.full(added, TD, np.int8))),
        example=np.concatenate((before.example, np.full(added, NO_EXAMPLE, np.int8))),
        weight=np.zeros(len(ids), np.float32),
    )
    batch = batch_of(whole)
    return MODEL.logits(MODEL(batch, dense_mask(batch, causal=causal))[-1])


MODEL = small_model()


@pytest.mark.parametrize("context", [turn(1), None], ids=["in context", "without"])
@pytest.mark.parametrize("causal", [False, True])
def test_an_image_is_the_one_of_the_masked_document_token_by_token(context: Turn | None, causal: bool) -> None:
    generator = Generator(MODEL)
    found = generator.image(text(0), [picture(0)], generator.compress(context, keep_example=causal), GREEDY).ravel()
    for place in range(16):
        answer = np.array([WORDS.begin_image, *WORDS.image_ids[found[:place]]])
        logits = next_logits(context, answer, causal=causal)
        assert found[place] == logits[torch.from_numpy(WORDS.image_ids)].argmax()
    assert len(np.unique(found)) > 3


def test_a_text_is_the_one_of_the_masked_document_token_by_token() -> None:
    generator = Generator(MODEL)
    found = generator.text(text(0), [picture(0)], generator.compress(turn(1)), GREEDY, max_tokens=12)
    names = tiny_config().vocabulary_map
    assert names
    barred = torch.tensor([name.startswith(("IMGIMG", "<")) and name != "</s>" for name in names])
    for place in range(12):
        logits = next_logits(turn(1), found[:place])
        assert found[place] == logits.masked_fill(barred, -torch.inf).argmax()
    assert len(found) == 12


def reference(sampling: Sampling, seed: int) -> list[int]:
    """An image, token by token: every document anew from its beginning, and the draw by transformers' warpers."""
    bare, image_ids = WORDS.image_block(picture(0)), torch.from_numpy(WORDS.image_ids)
    uniform = torch.rand(16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    codes: list[int] = []
    for place in range(16):
        answer = np.array([WORDS.begin_image, *WORDS.image_ids[codes]])
        full = next_logits(turn(1), answer)
        images, nothing = (next_logits(None, answer, prompt=prompt) for prompt in (bare, np.array([], np.int64)))
        mixed = nothing + sampling.image_guidance * (images - nothing) + sampling.guidance * (full - images)
        allowed, no_ids = mixed[image_ids][None], torch.zeros(1, 1, dtype=torch.long)
        warped = TemperatureLogitsWarper(sampling.temperature)(no_ids, allowed)
        shares = TopPLogitsWarper(sampling.top_p)(no_ids, warped)[0].double().softmax(0)
        ordered, order = shares.sort(descending=True)
        codes.append(int(order[(ordered.cumsum(0) <= uniform[place]).sum()]))
    return codes


def test_drawn_and_guided_images_are_those_of_whole_documents_without_a_cache() -> None:
    """With three documents side by side, and several seeds in a batch."""
    generator = Generator(MODEL)
    context = generator.compress(turn(1))
    together = generator.images(text(0), [picture(0)], context, IMAGE, [3, 4])
    expected = [reference(IMAGE, seed) for seed in (3, 4)]
    assert together.reshape(2, 16).tolist() == expected and expected[0] != expected[1]
    assert generator.image(text(0), [picture(0)], context, IMAGE, 4).ravel().tolist() == expected[1]
    unguided = replace(IMAGE, guidance=1.0, image_guidance=1.0)
    assert generator.image(text(0), [picture(0)], context, unguided, 4).ravel().tolist() != expected[1]


def test_without_images_guidance_compares_with_nothing() -> None:
    generator = Generator(MODEL)
    guided = Sampling(temperature=0, guidance=3.0, image_guidance=1.2)
    found = generator.image(text(0), [], generator.compress(turn(1)), guided).ravel()
    asked = build_prompt(text(0), [], WORDS).ids
    for place in (0, 1, 7, 15):
        answer = np.array([WORDS.begin_image, *WORDS.image_ids[found[:place]]])
        with_it = next_logits(turn(1), answer, prompt=asked)
        without = next_logits(None, answer, prompt=np.array([], np.int64))
        assert found[place] == (without + 3 * (with_it - without))[torch.from_numpy(WORDS.image_ids)].argmax()


@pytest.mark.parametrize("inputs", [[picture(0)], []], ids=["with an image", "without"])
def test_a_guided_text_is_compared_with_what_comes_behind_the_separator_alone(inputs: list[Ids]) -> None:
    generator = Generator(MODEL)
    guided = Sampling(temperature=0, guidance=3.0, image_guidance=1.2)
    found = generator.text(text(0), inputs, generator.compress(turn(1)), guided, max_tokens=6)
    asked, ended = build_prompt(text(0), inputs, WORDS).ids, np.array([WORDS.separator])
    names = tiny_config().vocabulary_map
    assert names and len(found) == 6
    barred = torch.tensor([name.startswith(("IMGIMG", "<")) and name != "</s>" for name in names])
    bare = np.concatenate([*map(WORDS.image_block, inputs), ended])
    for place in range(6):
        full = next_logits(turn(1), found[:place], prompt=asked)
        images, nothing = (next_logits(None, found[:place], prompt=prompt) for prompt in (bare, ended))
        mixed = nothing + 1.2 * (images - nothing) + 3 * (full - images)
        assert found[place] == mixed.masked_fill(barred, -torch.inf).argmax()


def test_the_example_is_dropped_and_xp_stays() -> None:
    generator = Generator(MODEL)
    example = build_context(turn(1), WORDS, xp_tokens=XP_TOKENS)
    config = MODEL.config
    token_bytes = 2 * config.num_hidden_layers * config.hidden_size * 4
    dropped, kept = generator.compress(turn(1)), generator.compress(turn(1), keep_example=True)
    assert int((example.segment == IE).sum()) == len(example) - XP_TOKENS
    assert (dropped.tokens, dropped.bytes_before, dropped.bytes_after) == (
        len(example),
        len(example) * token_bytes,
        XP_TOKENS * token_bytes,
    )
    assert kept.bytes_after == kept.bytes_before == dropped.bytes_before
    assert dropped.seconds > 0
    greedy = [generator.image(text(0), [picture(0)], context, GREEDY).tolist() for context in (dropped, kept)]
    assert greedy[0] != greedy[1]
    other = generator.compress(turn(2))
    assert generator.image(text(0), [picture(0)], other, GREEDY).tolist() != greedy[0], "the example is heeded"


def test_images_and_texts_have_the_right_tokens_and_depend_on_the_seed() -> None:
    generator = Generator(MODEL)
    context = generator.compress(turn(1))
    hot, seeds = Sampling(temperature=5.0), (0, 0, 1)
    images = [generator.image(text(0), [picture(0)], context, hot, seed) for seed in seeds]
    assert images[0].shape == (4, 4) and images[0].dtype == np.int64
    assert images[0].min() >= 0 and images[0].max() < 256
    assert images[0].tolist() == images[1].tolist() != images[2].tolist()
    texts = [generator.text(text(0), [picture(0)], context, hot, seed, max_tokens=60) for seed in seeds]
    assert texts[0].tolist() == texts[1].tolist() != texts[2].tolist()
    assert max(map(len, texts)) == 60
    drawn = {list(tiny_config().vocabulary_map or {})[token] for token in np.concatenate(texts)}
    assert not [name for name in drawn if name.startswith(("IMGIMG", "<"))]


def test_a_text_ends_with_its_end_token() -> None:
    model = small_model()
    endless = Generator(model).text(text(0), [picture(0)], None, GREEDY, max_tokens=12).tolist()
    last = endless[-1]
    with torch.no_grad():
        model.lm_head.weight[WORDS.end_text] = model.lm_head.weight[last]  # as likely, and of the two the first
    found = Generator(model).text(text(0), [picture(0)], None, GREEDY, max_tokens=12).tolist()
    assert found == endless[: endless.index(last)]
    assert 0 < len(found) < 12


def test_a_document_that_passes_the_window_is_refused() -> None:
    generator = Generator(MODEL)
    with pytest.raises(ValueError, match="tokens with the answer: the context window has 5,120"):
        generator.text(text(0), [picture(0)], generator.compress(turn(1)), GREEDY, max_tokens=5_100)
