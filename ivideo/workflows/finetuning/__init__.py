"""Parts of `finetune`: what a run is worked on with, its steps, checkpoints, evaluations and report."""
