"""The method of InstructVideo on tensors alone: no files, no printing, no configuration objects, no diffusers."""
