"""The referee: says which subject, motion and place a clip shows, and never serves as a reward."""

from __future__ import annotations

from .network import Referee, Verdict, load_referee

__all__ = ["Referee", "Verdict", "load_referee"]
