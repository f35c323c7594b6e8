"""What goes between host and GPU, found without one: networks get weights on a CUDA device that torch only imagines.

Tensors on different devices fail there as they would on a real one. The backward pass needs a real one and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from examples.gpu_check.authors_step import do_as_the_authors
from examples.gpu_check.models import MODELS, build_reward
from examples.gpu_check.stepping import PROMPTS, make_trainer
from ivideo.config.settings import generation_settings
from ivideo.generating import generate_latents
from ivideo.models import pixels
from ivideo.training.draws import samples_of_step
from ivideo.training.step import Trainer

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
SAMPLES = [samples_of_step(step, 2, len(PROMPTS), 0) for step in range(2)]


class Transfers(TorchDispatchMode):
    """Notes (from, to, shape) of every copy between devices, and every number that is read from a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, str, tuple[int, ...]]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if operation is torch.ops.aten._to_copy.default and args[0].device != result.device:
            self.log.append((args[0].device.type, result.device.type, tuple(result.shape)))
        if operation is torch.ops.aten._local_scalar_dense.default and args[0].device.type == "cuda":
            self.log.append(("cuda", "number", ()))
        return result


def imagine_on_gpu(network: nn.Module) -> None:
    for module in network.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                fake = torch.empty(weight.shape, dtype=weight.dtype, device=CUDA)
                module._parameters[name] = nn.Parameter(fake, requires_grad=weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=CUDA)


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    """A trainer on the imagined device; what is read from tensors on the CPU (timesteps) is real."""
    model, reward = MODELS[0].build_with_adapter(CPU, torch.float32, True), build_reward(CPU, is_small=True)
    settings = MODELS[0].settings(CPU, True, batch_size=2, gradient_accumulation=1)
    trainer = make_trainer(model, reward, settings)
    numbers = trainer.stepper.timesteps.tolist()
    reward.score(torch.rand(2, 1, 3, 32, 32), PROMPTS)  # encodes the prompts' texts
    with FakeTensorMode(allow_non_fake_inputs=True):
        for network in (model.unet, model.vae, reward.network):
            imagine_on_gpu(network)
        model.device = reward.device = CUDA
        model._known_embeds = {text: embeds.to(CUDA) for text, embeds in model._known_embeds.items()}
        reward._text_features = {text: features.to(CUDA) for text, features in reward._text_features.items()}
        trainer.conditioning = model.encode_prompts(PROMPTS)
        trainer.stepper.timesteps = [torch.tensor(number) for number in numbers]  # as a whole they would be imagined
        model.stepper = lambda num_inference_steps, shape: trainer.stepper
        yield trainer


def test_a_step_uploads_its_clips_and_draws_and_nothing_else(trainer: Trainer) -> None:
    first, second = SAMPLES
    trainer.evaluate(first, {})  # timesteps and constants go up once in a run
    with Transfers() as transfers:
        objective = trainer.evaluate(second, {})
    assert objective.loss.device == CUDA
    latents = (2, *trainer.model.latents_shape(trainer.settings.num_frames, 64, 64))
    assert sorted(transfers.log) == [("cpu", "cuda", shape) for shape in sorted([latents, latents, (2, 4)])]


def test_the_authors_way_runs_on_the_device_too(trainer: Trainer) -> None:
    trainer.settings = trainer.settings.model_copy(update={"guidance_batching": False})
    with Transfers() as transfers:
        objective = do_as_the_authors(trainer).evaluate(SAMPLES[0], {})
    assert objective.frame_scores.device == CUDA
    assert ("cuda", "number", ()) not in transfers.log


def test_a_generation_uploads_its_noise_and_downloads_its_frames(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside one number a clip, whether its frames are numbers: an imagined one cannot be read."""
    monkeypatch.setattr(pixels, "is_finite", lambda frames: True)
    settings = generation_settings(trainer.settings)
    generate_latents(trainer.model, settings, PROMPTS[:1], [0])
    with Transfers() as transfers:
        frames = trainer.model.decode_clip(generate_latents(trainer.model, settings, PROMPTS[:1], [0])[0])
    assert frames.device == CPU
    assert transfers.log == [
        ("cpu", "cuda", (1, *trainer.model.latents_shape(settings.num_frames, 64, 64))),
        ("cuda", "cpu", tuple(frames.shape)),
    ]
