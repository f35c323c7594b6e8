"""The classifier: says which subject, motion and place a clip shows, and never serves as a reward."""

from __future__ import annotations

from .network import Classifier, Predictions, load_classifier

__all__ = ["Classifier", "Predictions", "load_classifier"]
