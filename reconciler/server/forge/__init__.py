"""The forge that a source lies on: what it is told of commits, and what is written back to it."""
