"""Run what is decided: attempts, carriers, logs, secrets."""
