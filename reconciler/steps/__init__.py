"""Step types: each a model of its inputs and a pure function that renders them."""
