"""Fine-tuning: a run, its clips, steps, checkpoints, evaluations and record."""
