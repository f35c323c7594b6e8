"""The training step: what a sample sees, what its gradient is, and that it goes uphill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings, generation_settings
from ivideo.errors import UsageError
from ivideo.generating import open_model
from ivideo.models.lora import add_lora
from ivideo.rewards.contract import RewardModel
from ivideo.rewards.mixture import Rewards
from ivideo.rewards.registry import load_rewards
from ivideo.training.clips import ClipCache
from ivideo.training.draws import Sample, samples_of_step
from ivideo.training.step import Trainer

PROMPTS = ["a cat surfing", "a dog running", "a cow"]
TINY = {
    "model": "emoji-world",
    "num_frames": 4,
    "num_segments": 4,
    "num_inference_steps": 2,
    "generation_num_inference_steps": 2,
    "num_grad_steps": 1,
    "strength": 0.5,
    "num_warmup_steps": 0,
    "lr_schedule": "constant",
    "dtype": "float32",
}


def make_settings(**values: Any) -> FinetuneSettings:
    return FinetuneSettings(**{**PRESETS["emoji-world"]["default"], **TINY, **values})


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    settings = make_settings()
    model = open_model(generation_settings(settings))
    cache = ClipCache(tmp_path_factory.mktemp("clips"), model, PROMPTS, settings)
    for item in range(len(PROMPTS)):
        cache.generate(item)
    return cache


@pytest.fixture
def make_trainer(clips: ClipCache) -> Callable[..., Trainer]:
    """`make_trainer(accelerator=None, **settings)` with an adapter that has left its start, where half is zero."""

    def make(accelerator: Any = None, **values: Any) -> Trainer:
        settings = make_settings(**values)
        model = open_model(generation_settings(settings))
        add_lora(model.unet, settings.lora_rank, settings.lora_alpha, seed=0)
        rewards = load_rewards(settings.reward, torch.device("cpu"))
        clip_of = clips.load if settings.start == "clip" else None
        trainer = Trainer(model, rewards, PROMPTS, clip_of, settings, accelerator or Accelerator(cpu=True))
        generator = torch.Generator().manual_seed(1)
        for parameter in trainer.parameters:
            if parameter.abs().max() == 0:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.02
        return trainer

    return make


def gradient_of_step(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    monkeypatch.setattr(trainer.optimizer, "zero_grad", lambda **_: None)
    trainer.train_step(0)
    return torch.cat([parameter.grad.flatten() for parameter in trainer.parameters if parameter.grad is not None])


def test_samples_go_through_every_prompt_once_an_epoch() -> None:
    samples = [sample for step in range(3) for sample in samples_of_step(step, 2, 3, seed=0)]
    assert [sample.position for sample in samples] == list(range(6))
    assert [sample.epoch for sample in samples] == [0, 0, 0, 1, 1, 1]
    assert sorted(sample.item for sample in samples[:3]) == sorted(sample.item for sample in samples[3:]) == [0, 1, 2]


@pytest.mark.parametrize(("num_grad_steps", "num_calls"), [(1, 1), (2, 4)])
def test_checkpointing_recomputes_blocks_and_leaves_the_gradient(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, num_grad_steps: int, num_calls: int
) -> None:
    gradients, calls, slices = [], [], []
    for checkpointing in (False, True):
        trainer = make_trainer(
            batch_size=1, strength=1.0, num_grad_steps=num_grad_steps, gradient_checkpointing=checkpointing
        )
        unet, decode = trainer.model.unet, trainer.model.vae.decode
        seen: list[bool] = []
        unet.register_forward_pre_hook(lambda *_, seen=seen: seen.append(torch.is_grad_enabled()))
        sizes: list[int] = []
        monkeypatch.setattr(
            trainer.model.vae, "decode", lambda z, sizes=sizes, decode=decode, **_: sizes.append(len(z)) or decode(z)
        )
        gradients.append(gradient_of_step(trainer, monkeypatch))
        calls.append(sum(seen))
        slices.append(sizes)
    assert gradients[0].abs().max() > 1e-4
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-3 * gradients[0].abs().max().item())
    assert calls == [num_grad_steps, num_calls]  # of one step the blocks are recomputed, of several the steps, too
    assert slices == [[4], [1] * 8]


@pytest.mark.parametrize(("gradient", "num_calls"), [("random", (1, 1)), ("drtune", (2, 4)), ("draft-lv", (2, 4))])
def test_checkpointing_leaves_the_gradient_wherever_it_flows(
    make_trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
    gradient: str,
    num_calls: tuple[int, int],
) -> None:
    gradients, calls = [], []
    for checkpointing in (False, True):
        way = {"start": "noise", "gradient": gradient, "num_grad_steps": 2}
        trainer = make_trainer(batch_size=1, gradient_checkpointing=checkpointing, **way)
        seen: list[bool] = []
        trainer.model.unet.register_forward_pre_hook(lambda *_, seen=seen: seen.append(torch.is_grad_enabled()))
        gradients.append(gradient_of_step(trainer, monkeypatch))
        calls.append(sum(seen))
    assert gradients[0].abs().max() > 1e-4
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-3 * gradients[0].abs().max().item())
    assert tuple(calls) == num_calls


def test_branches_one_after_the_other_give_the_same_gradient(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    together, apart = (
        gradient_of_step(make_trainer(batch_size=1, guidance_batching=batched), monkeypatch)
        for batched in (True, False)
    )
    torch.testing.assert_close(apart, together, rtol=1e-3, atol=1e-3 * together.abs().max().item())


def crop_clips(trainer: Trainer) -> None:
    """Train on the corners of the clips, 32 x 32 pixels: CPUs take long in float16."""
    whole = trainer.clip_of
    trainer.clip_of = lambda item: whole(item)[:, :, :4, :4]


def scale_scores(trainer: Trainer, factor: float) -> None:
    """Make the scores, and with them the gradient, that much smaller or larger."""
    model = next(iter(trainer.rewards.models.values()))

    class Scaled(RewardModel):
        name, label = model.name, model.label

        def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
            return factor * model.score(frames, prompts, times)

    trainer.rewards = Rewards.of(Scaled())


def test_small_gradients_survive_float16_by_scaling_the_loss(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = []
    for factor, is_scaled in ((1.0, True), (2**-10, True), (2**-10, False)):  # ModelScope's last step has about 1e-3
        trainer = make_trainer(batch_size=1, dtype="float16")
        crop_clips(trainer)
        scale_scores(trainer, factor)
        assert all(parameter.dtype == torch.float32 for parameter in trainer.parameters)
        if not is_scaled:
            trainer.scaler = torch.amp.GradScaler("cpu", enabled=False)
        gradients.append(gradient_of_step(trainer, monkeypatch) / factor)
    usual, scaled, unscaled = gradients
    errors = [(found - usual).norm() / usual.norm() for found in (scaled, unscaled)]
    assert errors[0] < 0.01
    assert errors[1] > 0.1


def test_a_step_that_overflows_float16_is_left_out_and_the_scale_halved(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainer = make_trainer(batch_size=1, dtype="float16", learning_rate=0.01)
    crop_clips(trainer)
    before = [parameter.clone() for parameter in trainer.parameters]
    scale = trainer.scaler.get_scale()
    scale_scores(trainer, 1e30)
    trainer.train_step(0)
    assert all(torch.equal(parameter, old) for parameter, old in zip(trainer.parameters, before, strict=True))
    assert trainer.scaler.get_scale() == scale / 2
    scale_scores(trainer, 1e-30)
    trainer.train_step(1)
    assert not all(torch.equal(parameter, old) for parameter, old in zip(trainer.parameters, before, strict=True))


def test_parts_and_processes_give_the_gradient_of_the_whole_batch(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gradient_of_step(make_trainer(batch_size=3, gradient_accumulation=1), monkeypatch)
    parts = gradient_of_step(make_trainer(batch_size=3, gradient_accumulation=2), monkeypatch)
    processes = [
        SimpleNamespace(process_index=index, num_processes=2, reduce=lambda tensor, _: tensor) for index in range(2)
    ]
    shares = [gradient_of_step(make_trainer(process, batch_size=3), monkeypatch) for process in processes]
    assert whole.abs().max() > 0
    tolerance = 1e-3 * whole.abs().max().item()
    assert torch.allclose(parts, whole, rtol=0, atol=tolerance)
    assert torch.allclose(shares[0] + shares[1], whole, rtol=0, atol=tolerance)
    assert not torch.allclose(shares[0], whole, rtol=0, atol=tolerance)


@pytest.mark.parametrize("gradient", ["random", "drtune", "draft-lv"])
def test_two_processes_give_the_gradient_of_one_from_noise(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, gradient: str
) -> None:
    way = {"start": "noise", "gradient": gradient, "num_grad_steps": 2, "batch_size": 2}
    one = gradient_of_step(make_trainer(**way), monkeypatch)  # a clip at a time, as in each of the two processes
    processes = [
        SimpleNamespace(process_index=index, num_processes=2, reduce=lambda tensor, _: tensor) for index in range(2)
    ]
    shares = [gradient_of_step(make_trainer(process, **way), monkeypatch) for process in processes]
    assert one.abs().max() > 1e-4
    torch.testing.assert_close(shares[0] + shares[1], one, rtol=1e-4, atol=1e-5 * one.abs().max().item())


def test_a_batch_has_a_clip_for_every_process(make_trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(UsageError, match="`batch_size` 1 is less than 2 processes"):
        make_trainer(SimpleNamespace(process_index=0, num_processes=2), batch_size=1)


def test_a_few_steps_on_one_clip_raise_its_objective(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(learning_rate=2e-3)
    sample = [Sample(item=0, epoch=0, position=0)]
    rewards = []
    for _ in range(6):
        objective = trainer.evaluate(sample)
        rewards.append(objective.video_rewards.item())
        objective.loss.backward()
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
    assert rewards[-1] > rewards[0]


def test_only_the_adapter_changes(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(batch_size=1, learning_rate=0.01)
    unet = trainer.model.unet
    before = {name: weight.clone() for name, weight in unet.named_parameters()}
    metrics = trainer.train_step(0)
    changed = {name for name, weight in unet.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if ".lora_" in name}
    assert metrics.loss == pytest.approx(1 - metrics.attenuated_reward)


def test_the_learning_rate_warms_up(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(batch_size=1, max_steps=3, num_warmup_steps=2, learning_rate=0.01)
    assert [trainer.train_step(step).learning_rate for step in range(3)] == pytest.approx([0.005, 0.01, 0.01])


def test_clips_are_generated_once(clips: ClipCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ClipCache(tmp_path, clips.model, PROMPTS, make_settings())
    cache.generate(1)
    assert torch.equal(cache.load(1), clips.load(1))
    assert not torch.equal(clips.load(0), clips.load(1))
    monkeypatch.setattr("ivideo.training.clips.generate_latents", lambda *_: pytest.fail("generated again"))
    cache.generate(1)
