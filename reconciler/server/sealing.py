"""Where the key of a state lies, and the sealer that it makes."""

import os
from pathlib import Path

from reconciler.store.database import Transaction
from reconciler.store.directory import DataDirectory
from reconciler.store.keys import Sealer, sealer

KEY_FILE = "RECONCILE_KEY_FILE"
"""The environment variable that names the key's file, where it is not DIR/key."""


def sealer_of(tx: Transaction, files: DataDirectory) -> Sealer:
    """Return the sealer of a state, making its key at the first use; raises StateUnreadable."""
    given = os.environ.get(KEY_FILE)
    return sealer(tx, Path(given) if given else files.key, given=bool(given))
