"""Small random checkpoints in the on-disk formats of the real ones, for MODELS=tiny and the tests."""

import logging

# As in xprompt_model: PyTorch warns of what torchao declares, which diffusers imports where it is installed.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
