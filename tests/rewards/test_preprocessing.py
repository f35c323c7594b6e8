"""Frames of any size against the transforms of torchvision, open_clip and transformers."""

from __future__ import annotations

import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torchvision.transforms.functional import InterpolationMode, resize

from ivideo.rewards.cosine import CLIP_MEAN, CLIP_STD, Preprocessing, preprocess


def denormalise(images):
    return images * torch.tensor(CLIP_STD)[:, None, None] + torch.tensor(CLIP_MEAN)[:, None, None]


@pytest.mark.parametrize("side", [64, 224, 300])
def test_a_square_is_resized_and_nothing_else(side, random_frames):
    images = random_frames(1, 2, side, side)[0]
    expected = resize(images, [224, 224], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    torch.testing.assert_close(denormalise(preprocess(images, 224)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (100, 200, slice(56, 168), slice(0, 224)),
        (200, 100, slice(0, 224), slice(56, 168)),
        (224, 75, slice(0, 224), slice(74, 149)),
        (75, 224, slice(74, 149), slice(0, 224)),
    ],
)
def test_wide_and_tall_are_centred_on_black(height, width, rows, columns, random_frames):
    images = random_frames(1, 2, height, width)[0]
    padded = denormalise(preprocess(images, 224))
    assert padded.shape == (2, 3, 224, 224)
    size = [rows.stop - rows.start, columns.stop - columns.start]
    inside = resize(images, size, InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    torch.testing.assert_close(padded[:, :, rows, columns], inside, rtol=0, atol=1e-5)
    padded[:, :, rows, columns] = 0
    assert padded.abs().max() < 1e-6


@pytest.mark.parametrize("fit", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("filter", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (100, 203), (323, 181), (224, 225), (227, 224)])
def test_it_is_open_clips_but_for_8_bit_steps(random_frames, to_image, fit, filter, height, width):
    transform = image_transform_v2(PreprocessCfg(224, resize_mode=fit, interpolation=filter), is_train=False)
    images = random_frames(1, 1, height, width)[0]
    ours = Preprocessing(224, fit=fit, filter=filter)(images)[0]
    # open_clip resizes bytes: half a step of 1 / 255 in each direction, over the smallest deviation.
    torch.testing.assert_close(ours, transform(to_image(images[0])), rtol=0, atol=0.018)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (100, 203), (323, 181), (224, 225), (227, 224)])
def test_it_is_transformers_but_for_8_bit_steps(random_frames, to_image, height, width):
    from transformers import CLIPImageProcessor

    images = random_frames(1, 1, height, width)[0]
    expected = CLIPImageProcessor()(to_image(images[0]), return_tensors="pt").pixel_values
    ours = Preprocessing(224, fit="shortest", round_offset=int)(images)
    torch.testing.assert_close(ours, expected, rtol=0, atol=0.018)


def test_only_the_8_bit_range_is_kept_if_asked_for():
    edges = (torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0)) > 0.5).float()
    kept, free = (denormalise(Preprocessing(224, clamp=clamp)(edges)) for clamp in (True, False))
    assert kept.min() > -1e-6
    assert kept.max() < 1 + 1e-6
    assert free.min() < -0.05
    assert free.max() > 1.05
