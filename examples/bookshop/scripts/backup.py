"""Copy the database with SQLite's own backup, sign the copy, and keep it."""

import hashlib
import hmac
import os
import shutil
import sqlite3
from datetime import datetime, timezone
from pathlib import Path

import step

database = Path(os.environ["DATABASE"])
backups = Path(os.environ["BACKUPS"])
key = os.environ["BACKUP_KEY"]

database.parent.mkdir(parents=True, exist_ok=True)
backups.mkdir(parents=True, exist_ok=True)
copy = Path(f"bookshop-{datetime.now(timezone.utc):%Y%m%dT%H%M%S%fZ}.db")

source, target = sqlite3.connect(database), sqlite3.connect(copy)
with target:
    source.backup(target)
(version,) = target.execute("PRAGMA user_version").fetchone()
target.close()
source.close()

signature = hmac.new(key.encode(), copy.read_bytes(), hashlib.sha256).hexdigest()
kept = backups / copy.name
shutil.copyfile(copy, kept)
kept.with_suffix(".sig").write_text(signature)

print(f"backed up version {version} to {kept}")
print(f"signed with {key}")  # shown as ******** : sensitive values never reach a log
step.set_output("file", str(kept))
step.set_output("version", str(version))
