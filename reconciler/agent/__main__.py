"""Starts the agent: `python -m reconciler.agent --state DIR --fd N`."""

import sys

from reconciler.agent.main import main

if __name__ == "__main__":
    sys.exit(main())
