"""Comparisons: what is compared, which clips are paired, and what was found."""
