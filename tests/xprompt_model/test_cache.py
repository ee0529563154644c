from __future__ import annotations

import torch

from xprompt_model.cache import KeyValues


def test_tokens_are_appended_kept_and_forked() -> None:
    keys, values = torch.randn(2, 3, 1, 2, 5, 4)  # three layers, five tokens
    cache = KeyValues()
    assert (len(cache), cache.nbytes) == (0, 0)
    for layer in range(3):
        found = cache.update(keys[layer], values[layer], layer)
        assert torch.equal(found[0], keys[layer]) and torch.equal(found[1], values[layer])
    assert (len(cache), cache.nbytes) == (5, 2 * 3 * 2 * 5 * 4 * 4)
    cache.keep(torch.tensor([1, 4]))
    assert (len(cache), cache.nbytes) == (2, 2 * 3 * 2 * 2 * 4 * 4)
    fork = cache.fork()
    found = fork.update(keys[1], values[1], 1)
    assert torch.equal(found[0], torch.cat((keys[1][:, :, [1, 4]], keys[1]), 2))
    assert torch.equal(found[1], torch.cat((values[1][:, :, [1, 4]], values[1]), 2))
    assert cache.nbytes == 2 * 3 * 2 * 2 * 4 * 4, "what a fork appends is its own"
