"""Decide, purely: where a step may run and what a process does next."""
