"""A training clip from a video of any size and rate: which of its frames, and which part of them."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ivideo.errors import IvideoError
from ivideo.video.decoder import Frame
from ivideo.video.reader import Frames, VideoReader


def sample_indices(num_frames: int, fps: float, video_fps: float) -> list[int]:
    """Choose a run of frames from a video's start on, each the nearest in time at the rate that is wanted.

    index_k = floor(k * max(1, video_fps / fps) + 1/2), from 0 on.

    A video of a lower rate gives its frames one after the other: none comes twice, and what moves in it moves faster.
    Rates are averages; uneven time stamps are not looked at. 5 frames at 8 a second of a video at 30: 0, 4, 8, 11, 15.

    Args:
        num_frames: frames to choose, at least 1.
        fps: frames a second that are wanted.
        video_fps: frames a second that the video has.
    """
    step = max(1.0, video_fps / fps)
    return [math.floor(index * step + 0.5) for index in range(num_frames)]


def crop_box(height: int, width: int, target_height: int, target_width: int) -> tuple[float, float, float, float]:
    """Find the largest centred part of a picture that has the aspect of another size.

    In pixels, not always whole ones: (left, top, right, bottom). 100 rows and 64 columns for 32 x 32: (0, 18, 64, 82).

    Args:
        height: of the picture, in pixels.
        width: the same.
        target_height: of the size whose aspect it is to have, in any unit.
        target_width: the same.
    """
    scale = min(height / target_height, width / target_width)
    own_height, own_width = min(height, target_height * scale), min(width, target_width * scale)
    left, top = (width - own_width) / 2, (height - own_height) / 2
    return left, top, min(width, left + own_width), min(height, top + own_height)


def fit_frame(frame: Frame, height: int, width: int) -> Frame:
    """Crop a frame to an aspect (`crop_box`) and resize it, bicubic with antialiasing; one of that size stays as it is.

    Args:
        frame: uint8 (any height, any width, 3), RGB.
        height: of the result, in pixels.
        width: the same.
    """
    own_height, own_width, _ = frame.shape
    box = crop_box(own_height, own_width, height, width)
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC, box=box))


def read_clip(video: VideoReader, num_frames: int, fps: float, height: int, width: int) -> Frames:
    """Read a clip off a video's start, uint8 (num_frames, height, width, 3): by `sample_indices`, each by `fit_frame`.

    No further frame than the last one needed is decoded, and only one is held in its own size.

    Args:
        video: where from.
        num_frames: frames of the clip.
        fps: its frames a second.
        height: of its frames, in pixels.
        width: the same.

    Raises:
        IvideoError: the video is too short, or damaged before the clip's last frame.
    """
    indices = sample_indices(num_frames, fps, video.fps)
    num_read = video.num_frames or 0
    if video.num_frames is None or video.num_frames > indices[-1]:
        clip = np.empty((num_frames, height, width, 3), np.uint8)
        num_read = num_kept = 0
        for frame in video.select(indices):
            num_read += 1
            if frame is not None:
                clip[num_kept] = fit_frame(frame, height, width)
                num_kept += 1
        if num_kept == num_frames:
            return clip
    raise IvideoError(
        f"{video.path} is too short: {num_read} frames at {video.fps:.4g} a second; "
        f"{num_frames} at {fps:g} a second need {indices[-1] + 1}"
    )
