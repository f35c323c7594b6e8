"""What holds for every family of pipelines, each held against diffusers' own pipeline, scheduler and autoencoder."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ivideo.core.sampler import run_chain, start_chain
from ivideo.errors import UsageError
from ivideo.models.contract import ClipRequest
from ivideo.models.families import find_preset, load_model
from ivideo.models.lora import add_lora, lora_parameters, named_lora_parameters
from ivideo.models.pipelines.animatediff import AnimateDiffModel
from tests.models.pipelines import tiny
from tests.models.pipelines.conftest import GUIDANCE, NEGATIVE, PROMPT, call

every_family = pytest.mark.parametrize("name", tiny.EVERY)


def request_for(name: str, num_steps: int, seed: int = 7) -> ClipRequest:
    num_frames, height, width = tiny.SIZES[name]
    return ClipRequest(PROMPT, seed, num_frames, height, width, num_steps, GUIDANCE, NEGATIVE)


def draw_latents(model: Any, name: str, seed: int = 0) -> Tensor:
    num_frames, height, width = tiny.SIZES[name]
    shape = (1, *model.latents_shape(num_frames, height, width))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(model.dtype)


def first_order(pipeline: Any, name: str, num_steps: int) -> Any:
    """The pipeline's scheduler, at order 1 where it has one, as a call of the pipeline itself leaves it set."""
    if name.startswith("wan"):
        options = {"solver_order": 1, "disable_corrector": list(range(num_steps))}
        pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, **options)
    call(pipeline, name, num_steps, "latent")
    scheduler = copy.deepcopy(pipeline.scheduler)
    scheduler._step_index = scheduler._begin_index = None
    return scheduler


@every_family
def test_a_folder_takes_the_settings_of_its_release(name: str, folder_of: Any) -> None:
    told = {"wan": "wan2.1-1.3b", "wan-a14b": "wan2.2-a14b", "wan-5b": "wan2.2-5b", "ltx": "ltx-video"}
    told |= {"hunyuan": "hunyuan-video", "hunyuan-1.5": "hunyuan-video-1.5"}
    assert find_preset(str(folder_of(name))) == told.get(name, name)


@every_family
def test_a_clip_is_what_the_pipeline_makes(name: str, open_tiny: Any, open_pipeline: Any) -> None:
    model, pipeline = open_tiny(name), open_pipeline(name)
    assert torch.equal(model.call_pipeline(request_for(name, 3), "latent"), call(pipeline, name, 3, "latent"))
    frames = call(pipeline, name, 3, "pt")
    clip = model.make_clip(request_for(name, 3))
    assert clip.shape == (tiny.SIZES[name][0], *tiny.SIZES[name][1:], 3)
    assert torch.equal(clip, (frames[0] * 255).round().to(torch.uint8).permute(0, 2, 3, 1))
    assert torch.equal(model.make_clip(request_for(name, 3)), clip)  # nothing is left of the first call
    assert not torch.equal(model.make_clip(request_for(name, 3, seed=8)), clip)


@every_family
@pytest.mark.parametrize("num_steps", [4, 7])
def test_steps_are_the_schedulers_own_at_first_order(
    name: str, num_steps: int, open_tiny: Any, open_pipeline: Any
) -> None:
    model = open_tiny(name)
    latents = draw_latents(model, name).double()
    scheduler = first_order(open_pipeline(name), name, num_steps)
    stepper = model.stepper(num_steps, tuple(latents.shape[1:]))
    ours, theirs = latents, latents
    assert stepper.timesteps.tolist() == scheduler.timesteps.tolist()
    for timestep in scheduler.timesteps:
        ours = stepper.step(torch.tanh(ours) + 0.1, timestep, ours)
        theirs = scheduler.step(torch.tanh(theirs) + 0.1, timestep, theirs, return_dict=False)[0]
    assert torch.allclose(ours, theirs.double(), rtol=2e-5, atol=2e-6)


@every_family
def test_steps_keep_no_state_and_invert_corruption(name: str, open_tiny: Any) -> None:
    model = open_tiny(name)
    latents = draw_latents(model, name).double()
    noise = torch.randn_like(latents)
    stepper = model.stepper(5, tuple(latents.shape[1:]))
    for timestep in stepper.timesteps[1:]:
        noisy = stepper.corrupt(latents, noise, timestep)
        prediction = torch.randn_like(noisy)
        first = stepper.step(prediction, timestep, noisy)
        assert torch.equal(stepper.step(prediction, timestep, noisy), first)
        clean = stepper.predict_clean(prediction, timestep, noisy)
        scale = stepper.predict_clean(torch.zeros_like(noisy), timestep, noisy) - clean
        assert scale.abs().mean() > 0  # the prediction counts at every step
    assert len(set(stepper.timesteps.tolist())) == 5


@every_family
def test_drawn_frames_are_those_of_the_whole_decode(name: str, open_tiny: Any) -> None:
    model = open_tiny(name)
    latents = draw_latents(model, name)
    with torch.no_grad():
        whole = model.decode(model.vae, model.denormalise(latents).to(model.vae.dtype))
    whole = (whole.float() / 2 + 0.5).clamp(0, 1)[0].transpose(0, 1)
    num_frames = tiny.SIZES[name][0]
    assert len(whole) == num_frames
    for recompute in (False, True):
        for index in range(num_frames):
            drawn = model.decode_frames(latents, torch.tensor([[index]]), recompute=recompute)[0, 0]
            assert torch.allclose(drawn, whole[index], atol=2e-6), (index, recompute)
    several = model.decode_frames(latents.repeat(2, 1, 1, 1, 1), torch.tensor([[0, 3], [2, 1]]))
    assert torch.allclose(several, whole[torch.tensor([[0, 3], [2, 1]])], atol=2e-6)


def shrink_tiles(vae: Any, factor: int) -> None:
    """Tiles of 2 x 2 latents, one latent apart, in every autoencoder's words."""
    size = {"tile_sample_min_height": 2 * factor, "tile_sample_min_width": 2 * factor}
    known = inspect.signature(vae.enable_tiling).parameters
    latent = {"tile_latent_min_height": 2, "tile_latent_min_width": 2}
    strides = {"tile_sample_stride_height": factor, "tile_sample_stride_width": factor}
    overlaps = dict.fromkeys((f"tile_overlap_factor{one}" for one in ("", "_height", "_width")), 0.5)
    told = {**size, **latent, **strides, **overlaps}
    vae.enable_tiling(**{one: value for one, value in told.items() if one in known})
    vae.tile_latent_min_size, vae.tile_sample_min_size, vae.tile_overlap_factor = 2, 2 * factor, 0.5  # of pictures


@every_family
def test_drawn_frames_and_gradient_of_tiles_are_those_of_the_autoencoders_own_tiles(name: str, open_tiny: Any) -> None:
    model = open_tiny(name, vae_tiling=True)
    assert model.vae.use_tiling
    for vae in (model.vae, model.tiling_vae):
        shrink_tiles(vae, model.spatial_factor)
    shape = (1, *draw_latents(model, name).shape[1:3], 4, 3)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    indices = [3, 0]
    whole = (model.decode(model.vae, model.denormalise(latents)).float() / 2 + 0.5).clamp(0, 1)
    whole = whole[0].transpose(0, 1)[indices]
    (wanted,) = torch.autograd.grad(whole.square().sum(), latents)
    model.vae.use_tiling = False
    assert not torch.allclose(model.decode_frames(latents, torch.tensor([indices]))[0], whole, atol=1e-4)  # seams
    model.vae.use_tiling = True
    for recompute in (False, True):
        drawn = model.decode_frames(latents, torch.tensor([indices]), recompute=recompute)[0]
        assert torch.allclose(drawn, whole, atol=2e-6), recompute
        (gradient,) = torch.autograd.grad(drawn.square().sum(), latents)
        assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max())), recompute


def test_drawn_frames_of_a_large_clip_are_decoded_in_tiles_unless_told_otherwise(open_tiny: Any) -> None:
    large, small = torch.empty(16, 3, 60, 104), torch.empty(16, 3, 40, 72)
    for setting, tiled in ((None, [True, False]), (True, [True, True]), (False, [False, False])):
        model = open_tiny("wan", vae_tiling=setting)
        assert [model.vae_for_drawn(latents).use_tiling for latents in (large, small)] == tiled
        assert model.vae.use_tiling is (setting is True)  # of whole clips


@every_family
def test_latents_behind_a_frame_get_no_gradient(name: str, open_tiny: Any) -> None:
    model = open_tiny(name)
    latents = draw_latents(model, name).requires_grad_()
    needed = model.num_latents_for(0, latents.shape[2]) if name not in ("wan", "wan-a14b", "wan-5b") else 1
    model.decode_frames(latents, torch.tensor([[0]]), recompute=True).sum().backward()
    reached = latents.grad.abs().sum((0, 1, 3, 4)) > 0
    assert reached[:needed].any()
    assert not reached[needed:].any()


@every_family
def test_encoding_is_the_inverse_of_denormalising(name: str, open_tiny: Any) -> None:
    model = open_tiny(name)
    num_frames, height, width = tiny.SIZES[name]
    frames = torch.rand(2, num_frames, 3, height, width, generator=torch.Generator().manual_seed(0))
    latents = model.encode_frames(frames)
    assert latents.shape == (2, *model.latents_shape(num_frames, height, width))
    assert latents.dtype == torch.float32
    first = frames[:1].transpose(1, 2) * 2 - 1
    if name == "animatediff":
        wanted = torch.stack([model.vae.encode(one[None]).latent_dist.mean[0] for one in first[0].transpose(0, 1)], 1)
    else:
        wanted = model.vae.encode(first).latent_dist.mean[0]
    assert torch.allclose(model.denormalise(latents[:1])[0], wanted, atol=1e-5)


def open_doubled(open_tiny: Any, name: str) -> Any:
    """A model in float64 with an adapter that acts."""
    model = open_tiny(name, torch.float64)
    model.vae.double()
    add_lora(model.network, 2, 2.0, seed=0, targets=model.lora_targets)
    generator = torch.Generator().manual_seed(1)
    for parameter in lora_parameters(model.network):
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = 0.1 * values
    return model


@every_family
def test_the_gradient_is_that_of_the_chain_with_the_real_scheduler(
    name: str, open_tiny: Any, open_pipeline: Any
) -> None:
    model, num_steps = open_doubled(open_tiny, name), 4
    latents, noise = draw_latents(model, name, 0), draw_latents(model, name, 1)
    conditioning = model.encode_prompts([PROMPT], NEGATIVE)
    parameters = lora_parameters(model.network)
    drawn = torch.tensor([[1, 3]])
    weights = torch.linspace(-1, 1, 2 * 3 * 16 * 16, dtype=torch.float64)

    def lose(frames: Tensor) -> Tensor:
        return (frames.double().flatten()[: len(weights)] * weights).sum()

    stepper = model.stepper(num_steps, tuple(latents.shape[1:]))
    denoise = model.denoiser(GUIDANCE, batched=False, fps=8.0)
    noisy, timesteps = start_chain(stepper, latents, noise, 0.5)
    model.recompute_blocks()
    clean = run_chain(denoise, stepper, noisy, timesteps, conditioning, num_grad_steps=2)
    ours = torch.autograd.grad(lose(model.decode_frames(clean, drawn, recompute=True)), parameters)

    scheduler = first_order(open_pipeline(name), name, num_steps)
    level = noisy
    for timestep in scheduler.timesteps[-2:]:
        level = scheduler.step(denoise(level, timestep, conditioning), timestep, level, return_dict=False)[0].double()
    video = model.decode(model.vae, model.denormalise(level))
    frames = (video / 2 + 0.5).clamp(0, 1)[:, :, drawn[0]].transpose(1, 2)
    theirs = torch.autograd.grad(lose(frames), parameters)
    for name_, mine, own in zip(named_lora_parameters(model.network), ours, theirs, strict=True):
        assert torch.allclose(mine, own, rtol=1e-3, atol=1e-4 * float(own.abs().max() + 1e-9)), name_
    assert sum(float(one.abs().sum()) for one in ours) > 0


@every_family
def test_guidance_in_one_forward_or_two_is_the_same(name: str, open_tiny: Any) -> None:
    model = open_tiny(name)
    latents, conditioning = (
        draw_latents(model, name).repeat(2, 1, 1, 1, 1),
        model.encode_prompts([PROMPT, "two birds"], [NEGATIVE, PROMPT]),
    )
    timestep = model.stepper(4, tuple(latents.shape[1:])).timesteps[1]
    with torch.no_grad():
        both = model.denoiser(GUIDANCE, batched=True)(latents, timestep, conditioning)
        apart = model.denoiser(GUIDANCE, batched=False)(latents, timestep, conditioning)
        alone = model.denoiser(GUIDANCE, batched=False)(latents[1:], timestep, conditioning.pick([1]))
    assert both.shape == latents.shape
    assert torch.allclose(both, apart, atol=1e-5)
    assert torch.allclose(apart[1:], alone, atol=1e-5)
    assert not torch.allclose(apart[0], apart[1], atol=1e-7)  # the prompt counts


@every_family
def test_frames_that_cannot_be_made_are_refused_in_one_line(name: str, open_tiny: Any) -> None:
    model = open_tiny(name)
    num_frames, height, width = tiny.SIZES[name]
    if name != "animatediff":
        with pytest.raises(UsageError, match=rf"^`num_frames` {num_frames + 1}: .* makes \dk \+ 1 frames, such as \d+"):
            model.latents_shape(num_frames + 1, height, width)
    with pytest.raises(UsageError, match=rf"^`width` {width + 1}: .* needs a multiple of \d+$"):
        model.fit_size(height, width + 1)


def test_text_encoders_are_loaded_for_new_prompts_alone(
    open_tiny: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IVIDEO_CACHE", str(tmp_path))
    first = open_tiny("wan").encode_prompts([PROMPT], NEGATIVE)
    monkeypatch.setattr("ivideo.models.pipelines.load.PipelineFamily.load_encoders", lambda *_: pytest.fail("loaded"))
    again = open_tiny("wan").encode_prompts([PROMPT], NEGATIVE)
    assert torch.equal(first.text["prompt_embeds"], again.text["prompt_embeds"])
    with pytest.raises(ValueError, match="before they saw 'unheard of'"):
        open_tiny("wan").encode_prompts(["unheard of"], NEGATIVE)
    kept = [one.texts[PROMPT]["prompt_embeds"].shape[1] for one in [open_tiny("wan")]]
    assert first.text["prompt_embeds"].shape[1] == 512 > kept[0]


def test_stable_diffusion_gets_motion_modules(
    open_pipeline: Any, folder_of: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from diffusers import (
        AnimateDiffPipeline,
        DDIMScheduler,
        PNDMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )

    parts = open_pipeline("animatediff").components
    torch.manual_seed(0)
    unet = tiny.stable_diffusion_unet()
    still = {**{name: parts[name] for name in ("vae", "text_encoder", "tokenizer")}, "unet": unet}
    scheduler = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    StableDiffusionPipeline(
        **still, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    ).save_pretrained(tmp_path / "sd")
    motion = {"motion_adapter": str(folder_of("animatediff") / "motion_adapter")}
    monkeypatch.setattr(AnimateDiffModel, "ELSEWHERE", motion)
    model = load_model(str(tmp_path / "sd"), torch.device("cpu"), torch.float32, texts=[PROMPT, NEGATIVE, ""])
    pipeline = AnimateDiffPipeline(
        **{**still, "unet": UNet2DConditionModel.from_pretrained(tmp_path / "sd", subfolder="unet")},
        motion_adapter=parts["motion_adapter"],
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="linear",
            clip_sample=False,
            timestep_spacing="linspace",
            steps_offset=1,
            set_alpha_to_one=False,  # as PNDM's
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    theirs = call(pipeline, "animatediff", 3, "latent")
    assert torch.allclose(model.call_pipeline(request_for("animatediff", 3), "latent"), theirs, atol=1e-5)
