from __future__ import annotations

import torch

from xprompt_model.cache import KeyValues, StaticKeyValues, beside


def test_tokens_are_appended_and_kept() -> None:
    keys, values = torch.randn(2, 3, 1, 2, 5, 4)  # three layers, five tokens
    cache = KeyValues()
    assert (len(cache), cache.nbytes) == (0, 0)
    for layer in range(3):
        found = cache.update(keys[layer], values[layer], layer)
        assert torch.equal(found[0], keys[layer]) and torch.equal(found[1], values[layer])
    assert (len(cache), cache.nbytes) == (5, 2 * 3 * 2 * 5 * 4 * 4)
    cache.keep(torch.tensor([1, 4]))
    assert (len(cache), cache.nbytes) == (2, 2 * 3 * 2 * 2 * 4 * 4)


def held(rows: int, tokens: int) -> KeyValues:
    """Two layers of three heads."""
    return KeyValues.of([(torch.randn(rows, 3, tokens, 4), torch.randn(rows, 3, tokens, 4)) for _ in range(2)])


def test_rows_hold_what_several_caches_held_and_end_in_the_same_column() -> None:
    first, second, third = held(1, 5), held(1, 2), held(1, 1)
    joined = beside([[first, second], [third]])
    assert len(joined) == 7
    for layer in range(2):
        for part in range(2):
            found, expected = joined.layers[layer][part], torch.zeros(2, 3, 7, 4)
            expected[0] = torch.cat((first.layers[layer][part], second.layers[layer][part]), 2)
            expected[1, :, 6:] = third.layers[layer][part]
            assert torch.equal(found, expected)


def test_room_is_made_once_and_written_to() -> None:
    begun, other = held(1, 5), held(2, 3)
    static = StaticKeyValues(begun, rows=3, columns=9)
    static.place(begun, torch.tensor([0]), torch.tensor([1]), 6)
    static.place(other, torch.tensor([1, 0]), torch.tensor([0, 2]), 6)
    assert static.nbytes == 2 * 2 * 3 * 3 * 9 * 4 * 4
    memory = {part.data_ptr() for layer in static.layers for part in layer}
    expected = [[torch.zeros(3, 3, 6, 4) for _ in range(2)] for _ in range(2)]
    for layer in range(2):
        for part in range(2):
            expected[layer][part][1, :, 1:6] = begun.layers[layer][part]
            expected[layer][part][[0, 2], :, 3:6] = other.layers[layer][part][[1, 0]]
    for column in (6, 7):
        new = held(3, 1)
        for whole in (False, True):  # the second time the same is written again, as compiled code does
            static.column = torch.tensor([column]) if whole else column
            for layer in range(2):
                found = static.update(*new.layers[layer], layer)
                for part in range(2):
                    both = torch.cat((expected[layer][part], new.layers[layer][part]), 2)
                    assert found[part].shape[2] == (9 if whole else column + 1)
                    assert (
                        torch.equal(found[part][:, :, : column + 1], both) and not found[part][:, :, column + 1 :].any()
                    )
                    if whole:
                        expected[layer][part] = both
    assert memory == {part.data_ptr() for layer in static.layers for part in layer}
    static.keep(torch.tensor([2]))
    for layer in range(2):
        for part in range(2):
            assert torch.equal(static.layers[layer][part][:, :, :8], expected[layer][part][[2]])
