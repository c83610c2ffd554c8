"""Remember: one writer, plain SQL, SQLite or PostgreSQL."""
