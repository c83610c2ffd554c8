"""Where commits come from, and what the operator of the server decided of each source."""
