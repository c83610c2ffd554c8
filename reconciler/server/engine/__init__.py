"""The engine: it owns a state, keeps its workers linked and runs what is queued."""
