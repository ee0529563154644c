"""What is shown to everybody names no place of a machine."""

from __future__ import annotations

import pytest

from manifests.browse.public import public


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/photos/cat.jpg", ".../cat.jpg"),
        ("/home/me/photos/cat.jpg#3", ".../cat.jpg#3"),
        ("of /home/me/a.png+/mnt/b.png", "of .../b.png"),
        ("~/models/flux", ".../flux"),
        ("~me/models/flux/", ".../flux"),
        (r"C:\Users\me\flux.bin", ".../flux.bin"),
        (r"\\server\share\x", ".../x"),
        ("file:///home/me/x.png", ".../x.png"),
        ("model=/opt/x/y", "model=.../y"),
        ('["/opt/x/y", "a"]', '[".../y", "a"]'),
        ("https://me:secret@host/a/b.png?X-Amz-Signature=abc#top", "https://host/a/b.png"),
        ("see https://host/a and /etc/passwd", "see https://host/a and .../passwd"),
        ("s3://key:secret@bucket/a/b.png", "s3://bucket/a/b.png"),
        ("https://[broken/a", "..."),
        # what is no place of a machine
        ("train/input/12.png", "train/input/12.png"),
        ("../magicbrush", "../magicbrush"),
        ("black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-dev"),
        ("CC-BY-4.0; CC0", "CC-BY-4.0; CC0"),
        ("1/2", "1/2"),
        ("a / b", "a / b"),
        ("<b>and</b>", "<b>and</b>"),
        ("", ""),
    ],
)
def test_public(text: str, shown: str) -> None:
    assert public(text) == shown
    assert public({"a": [text, 1, None, {"b": text}]}) == {"a": [shown, 1, None, {"b": shown}]}
