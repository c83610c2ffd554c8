"""The state of a server: where it lies, how it is looked at, kept, saved and restored."""
