from __future__ import annotations

from dataclasses import replace

from manifests.schema import Pair, Reject, seed_for
from operators.base import BatchOperator
from operators.vlm.client import Asks
from operators.word.recaption import Recaption
from tests.operators.asking import Asked, pair_with


def _captioned(caption: str = "a cat", number: int = 0) -> Pair:
    return replace(pair_with("target", number=number), texts={"caption": caption})


def _seed(*, kept: bool) -> int:
    return next(seed for seed in range(1_000) if (seed_for(seed, "keep") < 0.1 * 2**63) == kept)


def test_a_caption_is_rewritten_and_the_original_is_kept_beside_it(asked: Asked) -> None:
    asked.server.answer = lambda text: "Caption: Two grey cats, left of a red ball."
    (pair,) = Recaption().asking(asked.vlm, None).many([_captioned()], [_seed(kept=False)])
    assert isinstance(pair, Pair)
    assert pair.texts == {"caption": "Two grey cats, left of a red ball.", "original_caption": "a cat"}
    (step,) = pair.steps
    assert step.params == {"kept": False, "original": "a cat"}
    assert step.prompt and step.prompt.startswith("recaption-1@") and step.model == "m"
    assert "a cat" in asked.server.requests[0]["messages"][0]["content"][-1]["text"]


def test_a_tenth_keep_their_caption_by_their_seed_at_no_cost(asked: Asked) -> None:
    operator = Recaption().asking(asked.vlm, None)
    pair = _captioned()
    kept = sum(not operator.requests(pair, seed_for(0, str(number), "recaption")) for number in range(3_000))
    assert 240 < kept < 360
    (made,) = operator.many([pair], [_seed(kept=True)])
    assert isinstance(made, Pair) and made.texts == pair.texts
    (step,) = made.steps
    assert (step.params, step.model, step.prompt) == ({"kept": True}, None, None)
    assert asked.server.paid.total() == 0


def test_one_without_a_caption_is_asked_about_whatever_its_seed(asked: Asked) -> None:
    asked.server.answer = lambda text: "Caption: A cat."
    pair = pair_with("target")
    (made,) = Recaption().asking(asked.vlm, None).many([pair], [_seed(kept=True)])
    assert isinstance(made, Pair) and made.texts["caption"] == "A cat."


def test_a_caption_of_two_paragraphs_is_one_text(asked: Asked) -> None:
    asked.server.answer = lambda text: "Sure! Here it is:\n**Caption:** Two cats.\n\nLeft of them is a red ball."
    (pair,) = Recaption().asking(asked.vlm, None).many([_captioned()], [_seed(kept=False)])
    assert isinstance(pair, Pair) and pair.texts["caption"] == "Two cats. Left of them is a red ball."
    assert pair.steps[-1].version == 2


def test_what_is_no_caption_is_a_reject_with_the_raw_text(asked: Asked) -> None:
    asked.server.answer = lambda text: "Caption: the description"
    (reject,) = Recaption().asking(asked.vlm, None).many([_captioned()], [_seed(kept=False)])
    assert isinstance(reject, Reject) and reject.reason == "unparsed" and reject.message == "Caption: the description"


def test_the_engine_knows_what_it_is() -> None:
    assert isinstance(Recaption(), BatchOperator) and isinstance(Recaption(), Asks)
