"""Parts of `evaluate.py`: where clips come from, what is measured on them, and what that adds up to."""
