"""The nouns: what people declare, what the system has seen, and the errors."""
