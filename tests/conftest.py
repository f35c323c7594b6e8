"""The environment of every test, set before any library reads it: offline, quiet, on the CPU unless asked otherwise."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # `CUDA_VISIBLE_DEVICES=0 pytest` runs them on a GPU
for personal_setting in ("IVIDEO_MODEL", "HPS_ROOT", "FORCE_COLOR"):
    os.environ.pop(personal_setting, None)
