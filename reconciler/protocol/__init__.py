"""Frames, messages and session state machines; no I/O."""
