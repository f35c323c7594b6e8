"""Videos on disk: read, written, sampled, put side by side, and told apart by their content."""
