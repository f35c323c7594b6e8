"""What can be set: the options of each command with their units, their defaults by model, and the TOML file."""
