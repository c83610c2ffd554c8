"""Bugs planted on a copy of the package, to see that the rounds catch them: `pytest tests/chaos --planted=NAME`."""

import shutil
from pathlib import Path

import reconciler

SOUND = "none"
"""No bug: a copy all the same, for long runs beside people who edit."""

Edit = tuple[str, str, str]  # file of the package, the sound text, the planted one

PLANTS: dict[str, tuple[Edit, ...]] = {
    SOUND: (),
    "no-claim": (("agent/directory.py", "return self._claim(_ClaimFile(shim=claim))", "return True"),),
    "acknowledged-early": (
        (
            "execute/logs.py",
            "_write_all(_descriptor(log), new, log.length)",
            "asyncio.get_running_loop().call_later(0.1, _write_all, os.dup(_descriptor(log)), new, log.length)",
        ),
    ),
    "forgotten-early": (
        (
            "execute/dispatch.py",
            "            await run.take_final(final)",
            "            self._grounds.links[worker].forget(final.ticket)\n            await asyncio.sleep(0.2)",
        ),
        (
            "execute/dispatch.py",
            "        self._kept.get(worker, set()).discard",
            "        if run is not None:\n            await run.take_final(final)\n        self._kept.get(worker, set()).discard",
        ),
    ),
    "offered-again": (
        (
            "execute/link.py",
            "return store is not None and (store != self._store or ticket in self._seen)",
            "return False",
        ),
    ),
}


def planted(name: str, folder: Path) -> Path:
    """Copy the package into a folder, plant a bug in it, and return the folder, for PYTHONPATH."""
    package = Path(reconciler.__file__).parent
    shutil.copytree(package, folder / "reconciler", ignore=shutil.ignore_patterns("__pycache__"))
    for file, sound, faulty in PLANTS[name]:
        path = folder / "reconciler" / file
        text = path.read_text()
        assert sound in text, f"{file} holds no longer what the bug {name} replaces"
        path.write_text(text.replace(sound, faulty))
    return folder
