from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from manifests.schema import Pair, Reject
from operators.base import BatchOperator, Judge
from operators.judge.vlm_filter import VlmFilter
from operators.vlm.client import Asks
from tests.operators.asking import Asked, pair_with

YES, NO = "Reasoning: They agree.\nAnswer: Yes", "Reasoning: The cat is gone.\nAnswer: No"
STYLE = "Style exemplar"


def _pair(number: int = 0) -> Pair:
    return replace(pair_with("input", "target", "exemplar", number=number), scores={"clip": 0.5})


def _says(asked: Asked, pairs: Sequence[Pair], content: Sequence[str], style: Sequence[str]) -> Callable[[str], str]:
    """The answers to the two questions about each pair, which is known by the image of its target."""
    targets = [base64.b64encode(image.data).decode() for pair in pairs if (image := pair.image("target"))]

    def answer(text: str) -> str:
        parts = asked.server.requests[-1]["messages"][0]["content"]  # the only one in the air
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        (place,) = [place for place, target in enumerate(targets) if urls[1].endswith(target)]
        return (style if STYLE in text else content)[place]

    return answer


def test_two_yes_keep_a_pair_with_scores_and_reasoning(asked: Asked) -> None:
    asked.server.answer = lambda text: YES
    (pair,) = VlmFilter().asking(asked.vlm, None).many([_pair()], [1])
    assert isinstance(pair, Pair)
    assert pair.scores == {"clip": 0.5, "same_content": 1.0, "same_style": 1.0}
    assert [step.params for step in pair.steps] == [
        {"question": "same_content", "reasoning": "They agree."},
        {"question": "same_style", "reasoning": "They agree."},
    ]
    assert [(step.prompt or "").split("@")[0] for step in pair.steps] == ["same-content-2", "same-style-2"]
    first, second = (request["messages"][0]["content"] for request in asked.server.requests)
    images = [[part["image_url"] for part in content if part["type"] == "image_url"] for content in (first, second)]
    assert len(images[0]) == len(images[1]) == 2
    assert images[0][1] == images[1][1] and images[0][0] != images[1][0]


def test_the_questions_in_the_papers_words_are_answered_with_yes_or_no_and_a_reason(asked: Asked) -> None:
    asked.server.answer = lambda text: "**No.** The strokes differ." if STYLE in text else "Yes, both show a cat."
    (reject,) = VlmFilter().asking(asked.vlm, "paper").many([_pair()], [1])
    assert isinstance(reject, Reject)
    assert (reject.reason, reject.message) == ("other_style", "The strokes differ.")
    assert reject.scores == {"clip": 0.5, "same_content": 1.0, "same_style": 0.0}


def test_a_no_in_the_first_stage_spares_the_second(asked: Asked) -> None:
    asked.server.answer = lambda text: NO
    (reject,) = VlmFilter().asking(asked.vlm, None).many([_pair()], [1])
    assert isinstance(reject, Reject)
    assert (reject.reason, reject.message) == ("other_content", "The cat is gone.")
    assert reject.scores == {"clip": 0.5, "same_content": 0.0}
    assert asked.server.paid.total() == 1


def test_each_pair_has_its_own_verdict_whatever_else_is_in_the_batch(asked: Asked) -> None:
    pairs = [_pair(0), _pair(1), _pair(2)]
    asked.server.answer = _says(asked, pairs, [YES, NO, "Yes and no"], [NO, "not asked", "not asked"])
    operator = VlmFilter().asking(replace(asked.vlm, concurrency=1), None)
    first, second, third = operator.many(pairs, [1, 2, 3])
    assert isinstance(first, Reject) and first.reason == "other_style"
    assert first.scores == {"clip": 0.5, "same_content": 1.0, "same_style": 0.0}
    assert isinstance(second, Reject) and second.reason == "other_content"
    assert isinstance(third, Reject) and (third.reason, third.message) == ("unparsed", "Yes and no")
    assert asked.server.paid.total() == 4


def test_a_lenient_one_asks_both_questions_and_keeps_a_no_but_not_what_is_no_answer(asked: Asked) -> None:
    pairs = [_pair(0), _pair(1)]
    asked.server.answer = _says(asked, pairs, [NO, "No or yes"], [NO, "not asked"])
    operator = VlmFilter().lenient().asking(replace(asked.vlm, concurrency=1), None)
    assert isinstance(operator, Judge)
    kept, unparsed = operator.many(pairs, [1, 2])
    assert isinstance(kept, Pair)
    assert kept.scores == {"clip": 0.5, "same_content": 0.0, "same_style": 0.0}
    assert [step.params for step in kept.steps] == [
        {"question": "same_content", "reasoning": "The cat is gone."},
        {"question": "same_style", "reasoning": "The cat is gone."},
    ]
    assert isinstance(unparsed, Reject) and unparsed.reason == "unparsed"
    assert asked.server.paid.total() == 3


def test_no_pair_waits_for_the_first_question_about_another(asked: Asked) -> None:
    """The first pair's first answer comes only after the second pair's second question."""
    second_question = threading.Event()

    def answer(text: str) -> str:
        if STYLE in text:
            second_question.set()
            return YES
        with asked.server.lock:
            asked_first = not held
            held.append(text)
        return YES if not asked_first or second_question.wait(30) else "waited in vain"

    held: list[str] = []
    asked.server.answer = answer
    results = VlmFilter().asking(asked.vlm, None).many([_pair(0), _pair(1)], [1, 2])
    assert [isinstance(result, Pair) for result in results] == [True, True]


def test_the_plan_counts_both_questions_and_roles_can_be_chosen(asked: Asked) -> None:
    operator = VlmFilter(base="base", exemplar="target", output="styled")
    requests = operator.requests(pair_with("base", "target", "styled"), 1)
    assert [len(request.images) for request in requests] == [2, 2]
    assert requests[0].images[0] != requests[1].images[0] and STYLE in requests[1].text
    assert isinstance(operator, BatchOperator) and isinstance(operator, Asks)
