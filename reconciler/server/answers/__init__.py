"""Answers to people who ask how things are, and why."""
