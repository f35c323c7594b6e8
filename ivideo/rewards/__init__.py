"""Reward models: what scores how well people would like a clip for its prompt, a file each."""
