"""InstructVideo's study in miniature: `run` measures on the emoji world, `render` writes study.md from the results."""
