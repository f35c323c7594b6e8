"""What the commands do: each workflow joins settings, models, files and metrics over the core."""
