"""The command line: one module a command, shared options, one sink for data and one for people."""
