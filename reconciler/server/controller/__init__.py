"""The controller of one space: from a commit to what is done about it, and what is said of it."""
