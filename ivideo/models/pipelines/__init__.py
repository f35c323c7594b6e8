"""Models that are diffusers pipelines with a transformer or a motion network: one file a family, one class for all."""
