"""Scores of clips: their frames before the reward models, and whole videos in a stream."""
