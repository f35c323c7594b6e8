"""What ivideo does on the GPU of this machine, measured by one command; see `__main__`."""
