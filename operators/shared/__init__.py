"""What data engine, model and trainer have in common, and may all import.

Embedders of texts (texts.py) and images (vision.py), measures of images (pixels.py, metrics.py), colours that stand for
numbers (palettes.py, ade20k.py) and the tokenizer's square (square.py). The package imports nothing of ours but
`manifests.schema` and `manifests.images`. PyTorch is imported when a network is loaded: the core has none.
"""
