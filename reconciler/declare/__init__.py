"""Load and validate: from bytes in Git to a resolved, typed desired state."""
