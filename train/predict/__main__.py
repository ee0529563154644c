"""`torchrun --nproc-per-node 8 -m train.predict ...`: as many processes as there are GPUs."""

from __future__ import annotations

import sys

from train.predict.command import main

sys.exit(main())
