"""The networks: text-to-video models, their adapters, and the judges that score frames."""
