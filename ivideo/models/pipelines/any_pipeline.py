"""Any other text-to-video pipeline of diffusers: called as it is, to generate and to compare; it cannot be trained."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ivideo.errors import IvideoError, UsageError
from ivideo.models.contract import ClipMaker, ClipRequest
from ivideo.models.loading import (
    check_finite,
    check_schedule,
    explain_damage,
    explain_part,
    import_quietly,
    load_part,
    read_index,
)
from ivideo.models.lora import save_lora
from ivideo.models.lora_files import load_lora
from ivideo.models.pipelines.lora_formats import write_formats
from ivideo.models.pipelines.model import as_loaded, check_call_arguments, explain_call, step_callback, tells_steps
from ivideo.models.pixels import to_pixels
from ivideo.models.vae import enable_tiling
from ivideo.models.variants import choose_variants

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
NETWORKS = ("transformer", "unet")  # where adapters go
DEFAULTS = ("num_frames", "height", "width", "num_inference_steps", "guidance_scale")


class AnyPipeline(ClipMaker):
    """A pipeline as diffusers loads it, text encoders and all.

    Attributes:
        pipeline: of any class whose call takes a prompt and gives frames.
    """

    def __init__(self, name: str, pipeline: Any, device: torch.device) -> None:
        """Take a loaded pipeline."""
        self.name, self.pipeline, self.device = name, pipeline, device
        pipeline.set_progress_bar_config(disable=True)
        self.tells_steps = tells_steps(pipeline)
        self.part = find_network(pipeline.components)
        self.network = getattr(pipeline, self.part)
        self.has_negative = "negative_prompt" in inspect.signature(pipeline.__call__).parameters

    def find_prompt_problems(self, prompt: str) -> list[str]:
        """None that are known."""
        return []

    def check_request(self, request: ClipRequest) -> None:
        """Hold further arguments against the call; sizes are checked by the pipeline itself."""
        check_call_arguments(self.pipeline, request.extra)

    @torch.no_grad()
    def make_clip(self, request: ClipRequest) -> Tensor:
        """Call the pipeline with what it takes of the request."""
        self.check_request(request)
        values = {name: getattr(request, name) for name in ("prompt", "negative_prompt", *DEFAULTS)}
        values |= {"frame_rate": request.fps, "fps": request.fps}
        pipeline = copy.copy(self.pipeline)
        pipeline.scheduler = copy.deepcopy(self.pipeline.scheduler)
        taken = inspect.signature(pipeline.__call__).parameters
        given = {name: value for name, value in values.items() if name in taken and value is not None}
        given |= {"generator": torch.Generator().manual_seed(request.seed), "output_type": "pt"}
        last: dict[str, Tensor] = {}
        with as_loaded(pipeline), explain_call(self.name):
            made = pipeline(**given, **step_callback(pipeline, request, last), **request.extra)
        frames = getattr(made, "frames", None)
        if not isinstance(frames, Tensor) or frames.ndim != 5:
            raise IvideoError(f"model {self.name!r} makes no videos: a {type(pipeline).__name__} gives other things")
        return to_pixels(frames[0], self.name, self.part, last.get("latents"))

    def load_adapter(self, path: Path, scale: float = 1.0) -> None:
        """Put an adapter into the network: PEFT's folder, or a safetensors file in whoever's names."""
        kind = type(self.pipeline).__name__
        self.remarks = [*self.remarks, *load_lora(self.network, path, scale, pipeline=kind)]
        self.network.to(self.device)


def find_network(components: Mapping[str, Any]) -> str:
    """Which part of a pipeline adapters go into.

    Raises:
        IvideoError: it has none that is known.
    """
    for part in NETWORKS:
        if components.get(part) is not None:
            return part
    raise IvideoError(f"a pipeline without {' or '.join(NETWORKS)} makes no videos here")


class AnyPipelineFamily:
    """Loads pipelines that no family knows; see `ivideo.models.contract.Family`."""

    def __init__(self, kind: str) -> None:
        """Of one class of diffusers' pipelines, by its name."""
        self.kind = kind

    def choose_preset(self, name: str, location: str) -> Mapping[str, Any]:
        """The defaults of the pipeline's own call."""
        parameters = inspect.signature(getattr(import_quietly("diffusers"), self.kind).__call__).parameters
        found = {one: parameters[one].default for one in DEFAULTS if one in parameters}
        known = {one: value for one, value in found.items() if isinstance(value, int | float)}
        renamed = {f"generation_{one}": known[one] for one in DEFAULTS[-2:] if one in known}
        return {"height": None, "width": None, **known, **renamed}

    def load_model(
        self,
        name: str,
        location: str,
        device: torch.device,
        dtype: torch.dtype,
        *,
        texts: Sequence[str] = (),
        options: Mapping[str, Any] = NO_OPTIONS,
    ) -> AnyPipeline:
        """Load every part, as `DiffusionPipeline.from_pretrained` does."""
        if options.get("expert") is not None:
            raise UsageError(f"`expert` {options['expert']}: {name} cannot be trained, and is taken as it is")
        parts = [part for part, one in read_index(name, location).items() if isinstance(one, list | tuple)]
        variants, remarks = choose_variants(name, location, parts, options.get("variant"))
        with explain_damage(f"model {name!r} cannot be loaded"):
            import_quietly("transformers")
            kind = getattr(import_quietly("diffusers"), self.kind)
            pipeline = kind.from_pretrained(location, torch_dtype=dtype, variant=next(iter(variants.values()), None))
        for part, loaded in pipeline.components.items():
            if isinstance(loaded, nn.Module):
                check_finite(loaded.state_dict(), f"model {name!r}: its {part} is damaged")
        if "scheduler" in pipeline.components:
            check_schedule(name, pipeline.scheduler)
        if options.get("vae_tiling"):
            enable_tiling(name, getattr(pipeline, "vae", None))
        model = AnyPipeline(name, pipeline.to(device), device)
        model.remarks = remarks
        return model

    def network_folder(self, name: str, location: str, options: Mapping[str, Any] = NO_OPTIONS) -> str:
        """The folder of the network."""
        return find_network(read_index(name, location))

    def load_network(
        self, name: str, location: str, dtype: torch.dtype | None, options: Mapping[str, Any] = NO_OPTIONS
    ) -> nn.Module:
        """The network alone."""
        part = self.network_folder(name, location)
        kind = getattr(import_quietly("diffusers"), read_index(name, location)[part][1])
        if dtype is not None:
            variant = choose_variants(name, location, [part], options.get("variant"))[0].get(part)
            network: nn.Module = load_part(kind, name, location, part, variant=variant, torch_dtype=dtype)
            return network
        with explain_part(name, part), torch.device("meta"):
            empty: nn.Module = kind.from_config(kind.load_config(location, subfolder=part))
        return empty

    def load_adapter(self, network: Any, path: Path, /, scale: float = 1.0) -> Sequence[str]:
        """Put an adapter into such a network."""
        return load_lora(network, path, scale, pipeline=self.kind)

    def save_adapter(
        self, network: Any, folder: Path, base_model: str, options: Mapping[str, Any] = NO_OPTIONS, /
    ) -> None:
        """Write the adapter in PEFT's format."""
        save_lora(network, folder, base_model)

    def write_formats(self, folder: Path, options: Mapping[str, Any] = NO_OPTIONS, /) -> list[Path]:
        """As diffusers reads it."""
        return write_formats(folder, self.kind, NETWORKS[0])

    def is_weights_file(self, path: Path) -> bool:
        """Files are known by the families that can be trained."""
        return False

    def find_lora_rank(self, path: Path) -> int | None:
        """None."""
        return None

    def read_adapter_notes(self, path: Path) -> dict[str, str]:
        """None."""
        return {}
