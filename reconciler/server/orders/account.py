"""The account that runs this process, as orders and the audit name it."""

import os
from getpass import getuser
from socket import gethostname


def account() -> str:
    """Return `NAME@HOST`; an account that the system has no name for is `uid NUMBER@HOST`."""
    try:
        name = getuser()
    except (KeyError, OSError):  # what it raises from Python 3.13 on
        name = f"uid {os.getuid()}"
    return f"{name}@{gethostname()}"
