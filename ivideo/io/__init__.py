"""Everything that touches the disk: videos, prompt files, plots and files that are never left half-written."""
