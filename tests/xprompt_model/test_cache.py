from __future__ import annotations

import torch

from xprompt_model.cache import KeyValues, RoomyKeyValues


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


def test_room_is_made_once_and_written_to() -> None:
    begun = KeyValues()
    keys, values = torch.randn(2, 2, 1, 3, 5, 4)  # two layers, three heads, five tokens
    for layer in range(2):
        begun.update(keys[layer], values[layer], layer)
    roomy = RoomyKeyValues(begun, room_tokens=2, rows=2)
    assert len(roomy) == 5
    new_keys, new_values = torch.randn(2, 2, 2, 3, 2, 4)  # two layers, two rows, two tokens
    memory = set()
    for token in range(2):
        for layer in range(2):
            step = slice(token, token + 1)
            found = roomy.update(new_keys[layer][:, :, step], new_values[layer][:, :, step], layer)
            for held, old, new in zip(found, (keys, values), (new_keys, new_values), strict=True):
                expected = torch.cat((old[layer].repeat(2, 1, 1, 1), new[layer][:, :, : token + 1]), 2)
                assert torch.equal(held, expected)
                memory.add(held.data_ptr())
    assert len(roomy) == 7 and len(begun) == 5
    assert len(memory) == 4, "two of each layer, at every step the same"
