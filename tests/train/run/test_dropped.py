"""What is said to be dropped is what the stream drops."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from manifests.write.contexts import write_contexts
from operators.tokenize import Tokenizer, tokenize_unit
from tests.datasets import contexts_of, examples
from tests.manifests.make import make_dataset
from tests.train.make import VOCABULARY, make_model, options, tokenizers
from train.data.corpus import Corpus
from train.data.stream import Library
from train.run.dropped import Window, dropped, table
from train.run.estimate import main
from xprompt_model.text import NoTokens, TextTokenizer
from xprompt_model.vocabulary import Ids

EPOCHS = 24


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Three pairs of real tokens, the examples of each with both others as contexts."""
    dataset = make_dataset(str(tmp_path_factory.mktemp("dropped") / "derain"), units=1, pairs=3)
    keys = list(dict.fromkeys(row["pair"] for row in examples(dataset)))
    ranked = [[(key, None, None) for key in keys if key != row["pair"]] for row in examples(dataset)]
    write_contexts(dataset, "derain-000000", contexts_of(*ranked))
    tokenize_unit(dataset, dataset.plan(), 0, Tokenizer(tokenizers()))
    return Corpus.open([dataset.url])


def test_the_numbers_are_those_of_the_stream_over_many_epochs(corpus: Corpus) -> None:
    lengths = [_shortest_window(corpus, example) for example in range(len(corpus.examples[0].pair))]
    for tokens in (30, min(lengths), int(np.median(lengths)) - 1, 999):
        for most, epochs in ((1, EPOCHS), (2, 1)):
            window = Window(tokens=tokens, xp_tokens=4, image_tokens=16, context_image_tokens=16, examples=most)
            library = Library(corpus, VOCABULARY, options(window_tokens=tokens, examples=most))
            seen: Counter[tuple[str, str]] = Counter()
            for example in range(len(corpus.examples[0].pair)):
                for epoch in range(epochs):
                    document = library.document(0, example, epoch)
                    lost = document is not None and library.lost_its_context(document, 0, example)
                    how = "too_long" if document is None else "no_context" if lost else "with_context"
                    seen[corpus.labels[library.label(0, example)], how] += 1
            for row in dropped(corpus, TextTokenizer(tokenizers()), window):
                for how in ("with_context", "no_context", "too_long"):
                    # Three examples a label; each drawn half of the time: within four standard deviations.
                    slack = 4 * (3 * 0.25 / EPOCHS) ** 0.5 if most == 1 else 1e-9
                    assert getattr(row, how) == pytest.approx(seen[row.label, how] / epochs, abs=slack)
                assert row.without == pytest.approx(0) and row.examples == 3


def test_the_command_says_what_a_recipe_would_lose(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, model = corpus.pairs[0].dataset.url, make_model(tmp_path / "model")
    recipe = Path(url).parent / "recipe.json"
    recipe.write_text('{"datasets": [{"path": "derain", "weight": 1.0}]}')
    command = ["--recipe", str(recipe), "--model", str(model), "--preset", "tiny", "--xp-tokens", "4"]
    assert main([*command, "--window-tokens", "64"]) == 0
    said = capsys.readouterr().out
    assert "derain/forward/generate" in said and "12 of 12 examples lose their context, 0 are too long" in said
    assert "ways out: --window-tokens" in said
    assert main([*command, "--window-tokens", "512"]) == 0
    assert "0 of 12 examples lose their context" in capsys.readouterr().out
    assert main([*command, "--window-tokens", "20"]) == 0
    assert "12 are too long and left out" in capsys.readouterr().out
    # Twelve codes an image fewer: two images of an example, and what is to be done with its own two as they are.
    most = max(_shortest_window(corpus, example) for example in range(12))
    assert main([*command, "--window-tokens", str(most - 12), "--context-pixels", "32"]) == 0
    assert "0 of 12 examples lose their context" in capsys.readouterr().out
    assert main([*command, "--window-tokens", "512", "--context-pixels", "33"]) == 2
    assert "--context-pixels 33: an image of so many pixels is no whole number of tokens" in capsys.readouterr().err
    assert main([*command, "--window-tokens", "512", "--no-contexts"]) == 0
    assert re.search(r"forward/generate +3 +0 +0 +0\n", capsys.readouterr().out)  # none in context, and none is lost
    assert main([*command[:2], "--model", str(tmp_path / "nowhere")]) == 2
    assert "not a model directory" in capsys.readouterr().err


def test_texts_without_tokens_are_counted_apart(corpus: Corpus) -> None:
    class Refusing(TextTokenizer):
        def ids(self, text: str) -> Ids:
            if text == examples(corpus.pairs[0].dataset)[0]["instruction"]:
                raise NoTokens("empty", "of this test")
            return super().ids(text)

    window = Window(tokens=512, xp_tokens=4, image_tokens=16, context_image_tokens=16, examples=1)
    rows = dropped(corpus, Refusing(tokenizers()), window)
    assert {row.label: (row.no_tokens, row.with_context) for row in rows}["derain/forward/generate"] == (3, 0)
    assert sum(row.with_context for row in rows) > 0
    assert table(rows, window)[-1].endswith(f"{sum(row.no_tokens for row in rows)} have no tokens")


def _shortest_window(corpus: Corpus, example: int) -> int:
    """The length of an example's document with the first of its contexts."""
    document = Library(corpus, VOCABULARY, options(window_tokens=9_999)).document(0, example, 0)
    assert document is not None
    return len(document)
