"""HPSv2: open_clip's ViT-H-14 with the weights that its authors tuned on people's choices between images."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ivideo.errors import UsageError
from ivideo.models.loading import explain_damage, read_weights
from ivideo.rewards.cosine import CosineReward, Preprocessing, find_given_file

ARCHITECTURE = "ViT-H-14"
HPS_REPOSITORY = "xswu/HPSv2"
HPS_VERSIONS = {"hpsv2": "v2.0", "hpsv2.1": "v2.1"}
HPS_FILES = {"hpsv2": "HPS_v2_compressed.pt", "hpsv2.1": "HPS_v2.1_compressed.pt"}  # as the hpsv2 package calls them
HPS_ROOT = "~/.cache/hpsv2"  # where that package keeps them unless the environment says otherwise
VERSIONS_IN_NAMES = (("hpsv2.1", r"v2[._-]1(?!\d)"), ("hpsv2", r"v2[._-]0(?!\d)|hps_?v2(?![._-]?\d)"))


def load_hps(name: str, source: str, device: torch.device) -> CosineReward:
    """HPSv2 as its authors score with it, differentiable.

    Built without a pre-trained tag: no LAION weights are fetched to be overwritten. Features equal those of the hpsv2
    package's own open_clip fork and its preprocessing (a test holds it), which does not keep resized pixels in [0, 1].

    Args:
        name: `hpsv2` or `hpsv2.1`, alone or followed by `:FILE`, or a file whose name says its version.
        source: the file; empty: see `find_hps_checkpoint`.
        device: where to put it.

    Raises:
        UsageError: the file's name does not say its version.
        IvideoError: the checkpoint is nowhere, is damaged, or holds another network.
    """
    import open_clip

    version = find_version(name, source)
    checkpoint = find_given_file(name, source) if source else find_hps_checkpoint(version)
    config = open_clip.get_model_config(ARCHITECTURE)
    with explain_damage(
        f"reward {name}: {checkpoint} is damaged or no checkpoint of HPSv2",
        f"; fetch it anew from https://huggingface.co/{HPS_REPOSITORY}",
        tell_reason=False,
    ):
        network = assemble_network(config, read_weights(checkpoint)).float()
    published = HPS_VERSIONS[version]
    label = f"HPSv2 {published}, cosine" + (f" ({checkpoint})" if source else "")
    preprocessing = Preprocessing(config["vision_cfg"]["image_size"], clamp=False)
    return CosineReward(name, label, network, open_clip.get_tokenizer(ARCHITECTURE), preprocessing, device, published)


def find_version(name: str, source: str) -> str:
    """Which of HPS_VERSIONS a reward means: said before the colon, else by the file's name.

    Raises:
        UsageError: neither says it.
    """
    if name != source:
        return name.partition(":")[0]
    stem = Path(source).stem.lower()
    for version, pattern in VERSIONS_IN_NAMES:
        if re.search(pattern, stem):
            return version
    raise UsageError(f"reward {name}: its name does not say HPSv2's version: write hpsv2:{source} or hpsv2.1:{source}")


def find_hps_checkpoint(version: str) -> Path:
    """The published checkpoint: in HPS_ROOT, else in the Hugging Face cache, else from the hub.

    In HPS_ROOT it may also be the same name with .safetensors.

    Raises:
        IvideoError: it is nowhere and the hub cannot be reached.
    """
    file_name = HPS_FILES[version]
    root = Path(os.environ.get("HPS_ROOT", HPS_ROOT)).expanduser()
    for path in (root / file_name, (root / file_name).with_suffix(".safetensors")):
        if path.is_file():
            return path
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    if isinstance(cached := try_to_load_from_cache(HPS_REPOSITORY, file_name), str):
        return Path(cached)
    with explain_damage(
        f"reward {version}: {file_name} is not on this machine",
        f"; put it into {root} (or set HPS_ROOT), from https://huggingface.co/{HPS_REPOSITORY}",
        tell_reason=False,
    ):
        return Path(hf_hub_download(HPS_REPOSITORY, file_name))


def assemble_network(config: Mapping[str, object], state: Mapping[str, Tensor]) -> nn.Module:
    """open_clip's network over weights' own memory, device and type: no random weights, no second copy.

    Raises:
        RuntimeError: the weights are another network's.
    """
    import open_clip

    with torch.device("meta"):
        network: nn.Module = open_clip.CLIP(**config)
    network.load_state_dict(state, assign=True)
    # The causal mask, the only part that is computed and not stored.
    network.attn_mask = torch.full(network.attn_mask.shape, float("-inf")).triu_(1)  # type: ignore[arg-type]
    return network
