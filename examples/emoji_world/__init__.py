"""The emoji world: a small, fully known world of captioned clips, and the scripts that train the bundled models."""
