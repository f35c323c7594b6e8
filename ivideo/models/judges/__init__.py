"""Judges: what scores how well people would like a frame for its prompt, one module each."""

from __future__ import annotations

from ivideo.models.judges.clip_judge import ClipJudge
from ivideo.models.judges.contract import Judge
from ivideo.models.judges.emoji_world import EMOJI_CLIP, EMOJI_PREFERENCE
from ivideo.models.judges.jury import Jury, labels_of, score_with_features, sees_frames_alone, trained_part
from ivideo.models.judges.load import load_judge, load_judges, runs_code
from ivideo.models.judges.preprocessing import Preprocessing, preprocess
from ivideo.models.judges.second import find_second_judge

__all__ = [
    "EMOJI_CLIP",
    "EMOJI_PREFERENCE",
    "ClipJudge",
    "Judge",
    "Jury",
    "Preprocessing",
    "find_second_judge",
    "labels_of",
    "load_judge",
    "load_judges",
    "preprocess",
    "runs_code",
    "score_with_features",
    "sees_frames_alone",
    "trained_part",
]
