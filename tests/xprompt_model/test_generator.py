from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from infra.tiny.chameleon import tiny_config
from tests.xprompt_model.small import XP_TOKENS, batch_of, picture, small_model, text, turn, vocabulary
from xprompt_model.cache import Compressed
from xprompt_model.generator import Generator, Request
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


def request(context: Compressed | None, seed: int = 0, inputs: Sequence[Ids] = (picture(0),)) -> Request:
    return Request(instruction=text(0), inputs=inputs, contexts=[context] if context else [], seed=seed)


def image(generator: Generator, context: Compressed | None, sampling: Sampling = GREEDY, seed: int = 0) -> list[int]:
    found: list[int] = generator.images([request(context, seed)], sampling).ravel().tolist()
    return found


@pytest.mark.parametrize("context", [turn(1), None], ids=["in context", "without"])
@pytest.mark.parametrize("causal", [False, True])
def test_an_image_is_the_one_of_the_masked_document_token_by_token(context: Turn | None, causal: bool) -> None:
    generator = Generator(MODEL)
    found = image(generator, generator.compress(context, keep_example=causal) if context else None)
    for place in range(16):
        answer = np.array([WORDS.begin_image, *WORDS.image_ids[found[:place]]])
        logits = next_logits(context, answer, causal=causal)
        assert found[place] == logits[torch.from_numpy(WORDS.image_ids)].argmax()
    assert len(np.unique(found)) > 3


def test_a_text_is_the_one_of_the_masked_document_token_by_token() -> None:
    generator = Generator(MODEL)
    found = generator.texts([request(generator.compress(turn(1)))], GREEDY, 12)[0]
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
    together = generator.images([request(context, 3), request(context, 4)], IMAGE)
    expected = [reference(IMAGE, seed) for seed in (3, 4)]
    assert together.reshape(2, 16).tolist() == expected and expected[0] != expected[1]
    assert image(generator, context, IMAGE, 4) == expected[1]
    unguided = replace(IMAGE, guidance=1.0, image_guidance=1.0)
    assert image(generator, context, unguided, 4) != expected[1]


def test_without_images_guidance_compares_with_nothing() -> None:
    generator = Generator(MODEL)
    guided = Sampling(temperature=0, guidance=3.0, image_guidance=1.2)
    found = generator.images([request(generator.compress(turn(1)), inputs=[])], guided).ravel()
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
    found = generator.texts([request(generator.compress(turn(1)), inputs=inputs)], guided, 6)[0]
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
    greedy = [image(generator, context) for context in (dropped, kept)]
    assert greedy[0] != greedy[1]
    other = generator.compress(turn(2))
    assert image(generator, other) != greedy[0], "the example is heeded"


def test_images_and_texts_have_the_right_tokens_and_depend_on_the_seed() -> None:
    generator = Generator(MODEL)
    context = generator.compress(turn(1))
    hot, seeds = Sampling(temperature=5.0), (0, 0, 1)
    images = [generator.images([request(context, seed)], hot)[0] for seed in seeds]
    assert images[0].shape == (4, 4) and images[0].dtype == np.int64
    assert images[0].min() >= 0 and images[0].max() < 256
    assert images[0].tolist() == images[1].tolist() != images[2].tolist()
    texts = [generator.texts([request(context, seed)], hot, 60)[0] for seed in seeds]
    assert texts[0].tolist() == texts[1].tolist() != texts[2].tolist()
    assert max(map(len, texts)) == 60
    drawn = {list(tiny_config().vocabulary_map or {})[token] for token in np.concatenate(texts)}
    assert not [name for name in drawn if name.startswith(("IMGIMG", "<"))]


def test_a_text_ends_with_its_end_token() -> None:
    model = small_model()
    endless = Generator(model).texts([request(None)], GREEDY, 12)[0].tolist()
    last = endless[-1]
    with torch.no_grad():
        model.lm_head.weight[WORDS.end_text] = model.lm_head.weight[last]  # as likely, and of the two the first
    found = Generator(model).texts([request(None)], GREEDY, 12)[0].tolist()
    assert found == endless[: endless.index(last)]
    assert 0 < len(found) < 12


def mixed(generator: Generator) -> list[Request]:
    """Requests that have nothing in common."""
    first, second = (generator.compress(turn(seed), keep_example=seed == 2) for seed in (1, 2))
    return [
        Request(instruction=text(1, 3), inputs=[picture(1)], contexts=[first], seed=5),
        Request(instruction=text(2, 40), contexts=[second, first], seed=6),
        Request(instruction=text(3), inputs=[picture(1), picture(2)], seed=7),
        Request(instruction=text(1, 3), inputs=[picture(1)], contexts=[first], seed=8),
    ]


@pytest.mark.parametrize("sampling", [GREEDY, IMAGE], ids=["greedy", "guided"])
def test_an_answer_does_not_depend_on_what_is_in_its_batch(sampling: Sampling) -> None:
    """That the first of them is right, the tests above say."""
    model = small_model()
    generator = Generator(model)
    requests = mixed(generator)
    endless = generator.texts(requests, sampling, 12)
    with torch.no_grad():
        model.lm_head.weight[WORDS.end_text] = 1.02 * model.lm_head.weight[endless[0][4]]  # some texts end early
    images, texts = generator.images(requests, sampling), generator.texts(requests, sampling, 12)
    alone = [generator.images([one], sampling)[0].tolist() for one in requests]
    assert images.tolist() == alone
    assert [found.tolist() for found in texts] == [generator.texts([one], sampling, 12)[0].tolist() for one in requests]
    assert len({len(found) for found in texts}) > 1
    assert (alone[0] == alone[3]) is (sampling is GREEDY), "the seed decides"


def test_no_requests_have_no_answers() -> None:
    assert Generator(MODEL).images([]).shape == (0, 4, 4) and Generator(MODEL).texts([]) == []


def test_compiled_steps_are_refused_where_they_make_no_sense() -> None:
    with pytest.raises(ValueError, match="compiled steps are for CUDA: this model is on cpu"):
        Generator(MODEL, compiled=True)


def test_a_document_that_passes_the_window_is_refused() -> None:
    generator = Generator(MODEL)
    with pytest.raises(ValueError, match="tokens with the answer: the context window has 5,120"):
        generator.texts([request(generator.compress(turn(1)))], GREEDY, 5_100)
