"""Where the key of a state lies, and the sealer that it makes."""

import os
from pathlib import Path

from reconciler.store.database import Transaction
from reconciler.store.directory import DataDirectory
from reconciler.store.keys import Sealer, in_use, sealer

KEY_FILE = "RECONCILE_KEY_FILE"
"""The environment variable that names the key's file, where it is not DIR/key."""


def check_key(tx: Transaction, files: DataDirectory) -> None:
    """Raise StateUnreadable where a key is in use and these files hold another one, or none."""
    if in_use(tx) is not None:
        sealer_of(tx, files)


def sealer_of(tx: Transaction, files: DataDirectory) -> Sealer:
    """Return the sealer of a state, making its key at the first use; raises StateUnreadable."""
    return sealer(tx, key_path(files), given=bool(os.environ.get(KEY_FILE)))


def key_path(files: DataDirectory) -> Path:
    """Return where the key of these files lies."""
    given = os.environ.get(KEY_FILE)
    return Path(given) if given else files.key
