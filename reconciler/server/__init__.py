"""The engine: wiring and loops."""
