"""The functions that scripts call, one file per language, and nothing else."""
