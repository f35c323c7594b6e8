"""The networks: text-to-video models, their adapters, and the reward models that score frames."""
