"""What people bring: prompts, lists of clips, adapters and settings."""
