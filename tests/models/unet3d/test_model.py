from __future__ import annotations

import pytest
import torch

from ivideo.core.sampler import run_chain
from ivideo.models.unet3d.model import Conditioning


@pytest.fixture
def latents():
    return torch.randn((2, 4, 3, 4, 4), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def unet_batches(tiny):
    """Batch size of every call of the tiny U-Net, as they come."""
    sizes = []
    tiny.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    return sizes


PROMPTS = ["a cat surfing", "a dog"]
TIMESTEP = torch.tensor(551)


def test_everything_is_frozen_and_dropout_is_off(tiny, latents):
    for part in (tiny.unet, tiny.vae, tiny.text_encoder):
        assert not any(parameter.requires_grad for parameter in part.parameters())
        assert not any(module.training for module in part.modules())
    dropouts = [module for module in tiny.unet.modules() if isinstance(module, torch.nn.Dropout) and module.p > 0]
    assert dropouts, "the temporal convolutions of this U-Net drop out in training mode"
    denoise, conditioning = tiny.denoiser(5.0), tiny.encode_prompts(PROMPTS)
    first = denoise(latents, TIMESTEP, conditioning)
    assert torch.equal(denoise(latents, TIMESTEP, conditioning), first)


def test_sizes(tiny, bundled):
    assert (tiny.spatial_factor, tiny.size_multiple, tiny.fit_size(None, None)) == (2, 4, (8, 8))
    assert tiny.latents_shape(3, 8, 16) == (4, 3, 4, 8)
    assert (bundled.spatial_factor, bundled.size_multiple, bundled.fit_size(None, 96)) == (8, 16, (64, 96))
    assert bundled.latents_shape(16, 64, 64) == (8, 16, 8, 8)


@pytest.mark.parametrize(("sample_size", "expected"), [((4, 6), (8, 12)), (None, (256, 256))])
def test_the_size_that_a_network_says(tiny, sample_size, expected):
    tiny.unet.register_to_config(sample_size=sample_size)
    assert tiny.fit_size(None, None) == expected


def test_one_batched_forward_equals_two_and_the_formula(tiny, latents, unet_batches):
    conditioning = tiny.encode_prompts(PROMPTS, negative_prompt="an owl")
    guided = tiny.denoiser(3.0)(latents, TIMESTEP, conditioning)
    assert unet_batches == [4]
    text, uncond = (
        tiny.unet(latents, TIMESTEP, embeds).sample
        for embeds in (conditioning.prompt_embeds, conditioning.negative_prompt_embeds)
    )
    assert (text - uncond).abs().max() > 1e-3
    torch.testing.assert_close(guided, uncond + 3.0 * (text - uncond), rtol=0, atol=1e-5)


def test_branches_one_after_the_other_predict_the_same(tiny, latents, unet_batches):
    conditioning = tiny.encode_prompts(PROMPTS, negative_prompt="an owl")
    together = tiny.denoiser(3.0)(latents, TIMESTEP, conditioning)
    unet_batches.clear()
    apart = tiny.denoiser(3.0, batched=False)(latents, TIMESTEP, conditioning)
    assert unet_batches == [2, 2]
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-5)
    tiny.denoiser(1.0, batched=False)(latents, TIMESTEP, conditioning)
    assert unet_batches == [2, 2, 2]


def test_guidance_one_leaves_the_unconditional_branch_out(tiny, latents, unet_batches):
    conditioning = tiny.encode_prompts(PROMPTS)
    unguided = tiny.denoiser(1.0)(latents, TIMESTEP, conditioning)
    assert unet_batches == [2]
    torch.testing.assert_close(unguided, tiny.unet(latents, TIMESTEP, conditioning.prompt_embeds).sample)


def test_gradient_flows_through_both_branches(tiny, latents):
    width = tiny.unet.config.cross_attention_dim
    embeds = torch.randn((2, 2, 16, width), generator=torch.Generator().manual_seed(0), requires_grad=True)
    tiny.denoiser(3.0)(latents, TIMESTEP, Conditioning(embeds[0], embeds[1])).square().sum().backward()
    assert embeds.grad[0].abs().max() > 0
    assert embeds.grad[1].abs().max() > 0


def test_prompts_are_encoded_one_by_one_as_in_a_batch(tiny):
    together = tiny.encode_prompts(PROMPTS, negative_prompt="an owl")
    for row, prompt in enumerate(PROMPTS):
        alone = tiny.encode_prompts([prompt])
        torch.testing.assert_close(together.prompt_embeds[row], alone.prompt_embeds[0])
    negative = tiny.encode_prompts(["an owl"]).prompt_embeds[0]
    torch.testing.assert_close(together.negative_prompt_embeds, negative.expand(2, -1, -1))
    own = tiny.encode_prompts([*PROMPTS, "a cow"], ["an owl", "", "an owl"]).negative_prompt_embeds
    for row, expected in zip(own, (negative, tiny.encode_prompts([""]).prompt_embeds[0], negative), strict=True):
        torch.testing.assert_close(row, expected)
    assert not together.prompt_embeds.requires_grad


def test_prompts_that_are_encoded_once_need_no_text_encoder(tiny):
    first, second = (tiny.encode_prompts([prompt], "an owl") for prompt in PROMPTS)
    tiny.encode_once(PROMPTS, ["an owl"] * 2)
    assert tiny.text_encoder is None
    for prompt, expected in zip(PROMPTS, (first, second), strict=True):
        found = tiny.encode_prompts([prompt], "an owl")
        assert torch.equal(found.prompt_embeds, expected.prompt_embeds)
        assert torch.equal(found.negative_prompt_embeds, expected.negative_prompt_embeds)
    assert torch.equal(tiny.encode_prompts(PROMPTS, "an owl").prompt_embeds[1:], second.prompt_embeds)
    with pytest.raises(ValueError, match="the text encoder was dropped before it saw 'a fox'"):
        tiny.encode_prompts(["a fox"], "an owl")
    with pytest.raises(ValueError, match="before it saw ''"):
        tiny.encode_prompts(PROMPTS)


def test_encoding_is_the_scaled_mean_and_goes_frame_by_frame(tiny, monkeypatch):
    frames = torch.rand((2, 5, 3, 8, 16), generator=torch.Generator().manual_seed(2))
    posterior = tiny.vae.encode(2 * frames[1, 3:4] - 1).latent_dist
    assert posterior.std.min() > 0.1, "a draw would differ"
    monkeypatch.setattr("ivideo.models.unet3d.model.FRAMES_AT_ONCE", 3)
    latents = tiny.encode_frames(frames)
    assert (latents.shape, latents.dtype) == ((2, 4, 5, 4, 8), torch.float32)
    torch.testing.assert_close(latents[1, :, 3], 0.5 * posterior.mean[0], rtol=0, atol=1e-5)
    assert torch.equal(tiny.encode_frames(frames), latents)


def test_encoding_is_undone_by_decoding(bundled):
    latents = torch.randn((1, 8, 2, 8, 8), generator=torch.Generator().manual_seed(3))
    indices = torch.arange(2)[None]
    frames = bundled.decode_frames(latents, indices)
    encoded = bundled.encode_frames(frames)

    def decibels(others):
        return -10 * torch.log10((bundled.decode_frames(others, indices) - frames).square().mean()).item()

    assert decibels(encoded) > 20
    assert decibels(encoded / bundled.vae.config.scaling_factor) < 19


def test_the_fingerprint_names_the_encoder_and_nothing_else(tiny):
    own = tiny.fingerprint_encoder()
    tiny.vae.decoder.conv_in.weight.add_(1)
    tiny.unet.conv_in.weight.add_(1)
    assert tiny.fingerprint_encoder() == own
    tiny.vae.register_to_config(scaling_factor=0.25)
    other_scale = tiny.fingerprint_encoder()
    tiny.vae.encoder.conv_in.weight[0, 0, 0, 0].add_(1e-6)
    other_weight = tiny.fingerprint_encoder()
    tiny.vae.to(torch.float64)
    assert len({own, other_scale, other_weight, tiny.fingerprint_encoder()}) == 4


def test_half_precision_unet_answers_in_the_type_of_the_latents(tiny, latents):
    full = tiny.denoiser(2.0)(latents, TIMESTEP, tiny.encode_prompts(PROMPTS))
    tiny.unet.to(torch.bfloat16)
    conditioning = tiny.encode_prompts(PROMPTS)
    assert conditioning.prompt_embeds.dtype == torch.bfloat16
    half = tiny.denoiser(2.0)(latents, TIMESTEP, conditioning)
    assert half.dtype == torch.float32
    assert 0 < (half - full).norm() / full.norm() < 0.1


def test_only_the_drawn_frames_are_decoded(tiny, latents, monkeypatch):
    decode, decoded = tiny.vae.decode, []
    monkeypatch.setattr(tiny.vae, "decode", lambda z, **options: decoded.append(z) or decode(z, **options))
    indices = torch.tensor([[2, 0], [1, 1]])
    frames = tiny.decode_frames(latents, indices)
    assert [len(z) for z in decoded] == [4]
    drawn = torch.stack([latents[0, :, 2], latents[0, :, 0], latents[1, :, 1], latents[1, :, 1]])
    torch.testing.assert_close(decoded[0], drawn / 0.5)
    assert frames.shape == (2, 2, 3, 8, 8)
    everything = tiny.decode_frames(latents, torch.arange(3).expand(2, -1))
    expected = torch.stack([everything[0, [2, 0]], everything[1, [1, 1]]])
    torch.testing.assert_close(frames, expected, rtol=0, atol=1e-5)


def test_decoded_frames_are_pixels_from_0_to_1_with_a_gradient_for_drawn_frames_only(tiny, latents):
    latents.requires_grad_()
    frames = tiny.decode_frames(latents, torch.tensor([[1], [1]]))
    assert frames.dtype == torch.float32
    assert frames.min() >= 0
    assert frames.max() <= 1
    (gradient,) = torch.autograd.grad(frames.sum(), latents)
    assert gradient[:, :, 1].abs().max() > 0
    assert gradient[:, :, [0, 2]].abs().max() == 0


def test_frames_are_decoded_again_for_the_same_frames_and_gradient(tiny, latents, monkeypatch):
    decode, sizes = tiny.vae.decode, []
    monkeypatch.setattr(tiny.vae, "decode", lambda z, **options: sizes.append(len(z)) or decode(z, **options))
    latents.requires_grad_()
    indices = torch.tensor([[2, 0], [1, 1]])
    results = {}
    for recompute in (False, True):
        saved = []
        keep = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, saved=saved: saved.append(tensor.nbytes) or tensor, lambda tensor: tensor
        )
        with keep:
            frames = tiny.decode_frames(latents, indices, recompute=recompute)
        results[recompute] = frames, torch.autograd.grad(frames.square().sum(), latents)[0], sum(saved)
    assert sizes == [4, *[1] * 8]
    (frames, gradient, num_bytes), (same_frames, same_gradient, fewer_bytes) = results[False], results[True]
    torch.testing.assert_close(same_frames, frames, rtol=0, atol=1e-5)
    torch.testing.assert_close(same_gradient, gradient, rtol=1e-4, atol=1e-5)
    assert gradient.abs().max() > 1e-2
    assert fewer_bytes < num_bytes / 10


def test_extreme_latents_are_clamped(tiny, latents, monkeypatch):
    monkeypatch.setattr(tiny.vae, "decode", lambda z, **options: (torch.full((len(z), 3, 8, 8), 5.0),))
    assert tiny.decode_frames(latents, torch.tensor([[0], [0]])).eq(1).all()


def test_decode_clip_rounds_all_frames_to_bytes(tiny):
    latents = torch.randn((4, 9, 4, 4), generator=torch.Generator().manual_seed(2))
    clip = tiny.decode_clip(latents)
    assert clip.dtype == torch.uint8
    assert clip.shape == (9, 8, 8, 3)
    frames = tiny.decode_frames(latents[None], torch.arange(9)[None])[0].permute(0, 2, 3, 1)
    assert (clip / 255 - frames).abs().max() <= 0.5 / 255 + 1e-5


@pytest.mark.parametrize("prompt", ["a cat", "A CAT.", "a cat, a dog!", "a cat-dog", ""])
def test_known_prompts_are_silent(bundled, prompt):
    assert bundled.find_prompt_problems(prompt) == []


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("zzq qzz, zzq", "zzq, qzz"),
        ("a \N{CAT} \N{CAT FACE}!", "\N{CAT}, \N{CAT FACE}"),
        ("a na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve cat", "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve"),
        ("a cat_zzyzx", "zzyzx"),
    ],
)
def test_unknown_words_are_named_once(bundled, prompt, unknown):
    assert bundled.find_prompt_problems(prompt) == [f"emoji-world does not know: {unknown}"]


def test_unknown_words_are_no_matter_to_a_large_vocabulary(bundled, monkeypatch):
    monkeypatch.setattr("ivideo.models.unet3d.model.SMALL_VOCABULARY", len(bundled.tokenizer))
    assert bundled.find_prompt_problems("a zzyzx") == []


def test_a_cut_prompt_says_what_is_left_of_it(bundled):
    assert bundled.find_prompt_problems(" ".join(["cat"] * 14)) == []
    (problem,) = bundled.find_prompt_problems(" ".join(["cat"] * 14 + ["dog"]))
    assert problem == f"cut to 14 tokens, read as {' '.join(['cat'] * 14)!r}"


def test_sampling_equals_the_pipeline_of_diffusers(bundled, bundled_folder):
    from diffusers import TextToVideoSDPipeline

    pipeline = TextToVideoSDPipeline.from_pretrained(bundled_folder, unet=bundled.unet, vae=bundled.vae)
    pipeline.set_progress_bar_config(disable=True)
    prompts = ["a cat surfing", "an owl at night"]
    noise = torch.randn((2, *bundled.latents_shape(4, 64, 64)), generator=torch.Generator().manual_seed(0))
    stepper = bundled.stepper(3)
    conditioning = bundled.encode_prompts(prompts)
    latents = run_chain(bundled.denoiser(5.0), stepper, noise, stepper.timesteps, conditioning)
    options = {"num_inference_steps": 3, "guidance_scale": 5.0, "num_frames": 4, "height": 64, "width": 64}
    expected = pipeline(prompts, latents=noise, output_type="latent", **options).frames
    torch.testing.assert_close(latents, expected, rtol=0, atol=1e-3)
    assert (latents[0] - latents[1]).abs().max() > 0.1
    pixels = pipeline.video_processor.postprocess_video(pipeline.decode_latents(expected), output_type="pt")
    frames = bundled.decode_frames(latents, torch.arange(4).expand(2, -1))
    torch.testing.assert_close(frames, pixels, rtol=0, atol=1e-3)
