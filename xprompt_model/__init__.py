"""The model: vocabulary, sequence layout, mask, transformer, VQ tokenizer, generation."""

import logging

# Where torchao is installed, transformers imports it, and PyTorch then warns each process of what torchao declares.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
