"""The command line of every command: flags, and how a terminal is written to."""
