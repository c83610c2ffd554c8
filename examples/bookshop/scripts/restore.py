"""Put the backup back in place, provided that its signature is right."""

import hashlib
import hmac
import os
import shutil
from pathlib import Path

import step

database = Path(os.environ["DATABASE"])
backup = Path(os.environ["BACKUP"])

signature = hmac.new(os.environ["BACKUP_KEY"].encode(), backup.read_bytes(), hashlib.sha256).hexdigest()
if not hmac.compare_digest(signature, backup.with_suffix(".sig").read_text()):
    step.fail(f"{backup} is not the file that was signed")

prepared = database.with_suffix(".restored")
shutil.copyfile(backup, prepared)
prepared.replace(database)
print(f"restored {backup.name}")
