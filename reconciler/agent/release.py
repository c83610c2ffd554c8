"""Which release of the agent this is: that of the whole product."""

RELEASE = "0.1.0"
