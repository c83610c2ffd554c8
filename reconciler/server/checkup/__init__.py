"""Check an installation: its machine, its configuration and its state."""
