"""Check a state: its files, its database and key, and the agents as they were last met."""

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from reconciler.declare.git import asked
from reconciler.model.errors import ReconcilerError
from reconciler.model.live import WorkerHealth, WorkerStatus
from reconciler.server.checkup.findings import Finding, doubtful, fine, wrong
from reconciler.server.state.looking import engine_runs
from reconciler.server.state.place import Place
from reconciler.server.state.registered import registered
from reconciler.server.state.restore import STAGE
from reconciler.server.state.sealing import check_key
from reconciler.server.state.times import stamp
from reconciler.store import audit, enrolment, worker_status
from reconciler.store.addresses import parted
from reconciler.store.chain import Broken
from reconciler.store.database import Transaction
from reconciler.store.dialects import is_address
from reconciler.store.directory import DataDirectory
from reconciler.store.migrations import migrations
from reconciler.store.reader import open_for_reading, states_in

GIB = 1 << 30
FREE_LEAST = GIB
"""Below this, one step that prints much fills the disk."""

FREE_SHARE_LEAST = 0.05
WAL_MOST = GIB // 2
"""It is emptied all the time: a longer one has a reader that never ends."""

AHEAD_MOST = 120.0
"""Seconds that the last event may lie in the future: clocks are set by small steps."""

SOON = 30 * 86_400.0
"""Seconds before its end from which a certificate is told of; agents renew theirs much earlier."""

NAMED_MAX = 5


def state_findings(place: Place, now: float) -> Iterator[Finding]:
    """Look at the files of a state, then into it."""
    files = place.files
    if not files.root.is_dir():
        yield from _reached(place)
        yield doubtful("state", f"there is no directory {files.root} yet", _first(place))
        return
    try:
        yield from _files(files)
        yield from _room(files)
    except OSError as error:
        yield wrong("files", f"{error.filename}: {error.strerror}", "run this as the account that the server runs as")
        return
    try:
        spaces = _spaces(place)
    except ReconcilerError as error:
        yield wrong("state", error.message, error.hint)
        return
    for space in spaces:
        yield from state_findings(place.of(space), now)
    if not spaces:
        yield from _database(place, now)


def _reached(place: Place) -> Iterator[Finding]:
    """Say whether a database answers that no state of this node is bound to yet."""
    if not is_address(place.data):
        return
    try:
        states_in(place.data)
    except ReconcilerError as error:
        yield wrong("database", error.message, error.hint)
    else:
        yield fine("database", f"{place.data} answers")


def _first(place: Place) -> str:
    """Say what makes a state: a repository without a commit has nothing to apply or to follow."""
    root = place.root
    if (root / ".git").exists() and asked(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").status:
        return f"{root} holds no commit: write the declarations with `reconcile init`, commit them, then apply or serve"
    return "the first apply or serve makes it"


def _spaces(place: Place) -> list[str]:
    """Return the spaces of a server whose states lie beside each other here; none where there is one state."""
    if is_address(place.data):
        return [] if parted(place.data).space else states_in(place.data)
    if place.files.state.exists():
        return []
    return sorted(folder.name for folder in place.files.root.iterdir() if DataDirectory(folder).state.exists())


def _files(files: DataDirectory) -> Iterator[Finding]:
    """Look who may read what, and what was left."""
    owner, mode = files.root.stat().st_uid, files.root.stat().st_mode & 0o777
    if mode & 0o077:
        yield wrong("files", f"{files.root} can be read by others (mode {mode:04o})", f"run: chmod 700 {files.root}")
    elif owner != os.geteuid():
        fix = "run this, and every other command, as the account that the server runs as"
        yield doubtful("files", f"{files.root} belongs to uid {owner}, and this is uid {os.geteuid()}", fix)
    else:
        yield fine("files", f"{files.root} is open to its owner alone")
    if (files.root / STAGE).exists() and not files.state.exists():
        yield wrong("files", f"a restore into {files.root} was interrupted", "run reconcile restore again")
    if files.socket.exists() and not engine_runs(files):
        yield fine("files", "the last engine was killed: the socket that it left is no harm")


def _room(files: DataDirectory) -> Iterator[Finding]:
    usage = shutil.disk_usage(files.root)
    free = f"{usage.free / GIB:.1f} GiB of {usage.total / GIB:.1f} are free where {files.root} lies"
    if usage.free < FREE_LEAST or usage.free < FREE_SHARE_LEAST * usage.total:
        yield wrong("disk", free, "make room: the server ends when the disk is full; shorten [retention]")
    else:
        yield fine("disk", free)
    wal = Path(f"{files.state}-wal")
    if wal.exists() and wal.stat().st_size > WAL_MOST:
        yield doubtful(
            "database",
            f"{wal} has {wal.stat().st_size / GIB:.1f} GiB",
            "some program reads the database without an end: find it with: fuser -v " + str(files.state),
        )


def _database(place: Place, now: float) -> Iterator[Finding]:
    try:
        readers = open_for_reading(place.data)
        if readers is None:
            yield doubtful("state", f"there is no state in {place.data} yet", _first(place))
            return
        with readers:
            yield fine("state", f"{place.data} has the schema {len(migrations())}, the newest that is known")
            yield readers.read_now(lambda tx: _key(tx, place))
            yield from readers.read_now(lambda tx: list(_clock(tx, now)))
            runs = engine_runs(place.files)
            yield from readers.read_now(lambda tx: list(_agents(tx, now, engine_runs=runs)))
            yield readers.read_now(_audit)
    except ReconcilerError as error:
        yield wrong("state", error.message, error.hint)


def _key(tx: Transaction, place: Place) -> Finding:
    try:
        check_key(tx, place.files)
    except ReconcilerError as error:
        return wrong("key", error.message, error.hint)
    return fine("key", "the key opens what is sealed; is there a copy of it elsewhere?")


def _audit(tx: Transaction) -> Finding:
    found = audit.verify(tx)
    if isinstance(found, Broken):
        sentence = f"the audit is broken at event {found.event} ({found.how}): {found.seen}"
        return wrong("audit", sentence, "compare it with an export that was kept elsewhere")
    return fine("audit", f"{found.count} event{'s' * (found.count != 1)} in it, as they were recorded")


def _clock(tx: Transaction, now: float) -> Iterator[Finding]:
    last = audit.newest(tx, 1)
    if last and last[0].at > now + AHEAD_MOST:
        yield wrong(
            "clock",
            f"the last event is of {stamp(last[0].at)}, and it is {stamp(now)}: the clock was set back",
            "set it right before anything runs: timeouts and certificates depend on it",
        )


def _agents(tx: Transaction, now: float, *, engine_runs: bool) -> Iterator[Finding]:
    """Look at the workers that Git declares; they are connected while an engine runs, and not before."""
    release, declared, statuses = version("reconciler"), registered(tx), worker_status.statuses(tx)
    away = [name for name in declared if name not in statuses or statuses[name].health is not WorkerHealth.HEALTHY]
    other = [name for name in declared if (seen := _release(statuses.get(name))) and seen != release]
    certified = {found.thumbprint: found for found in enrolment.identities(tx)}
    ends = {
        name: max(certified[each].expires_at for each in worker.thumbprints if each in certified)
        for name, worker in declared.items()
        if any(each in certified for each in worker.thumbprints)
    }
    soon = [name for name, end in ends.items() if end < now + SOON]
    if away and engine_runs:
        yield doubtful("agents", f"not connected: {_named(away)}", "reconcile get workers says since when and why")
    if other:
        fix = "upgrade them when there is time: an agent takes its running scripts along"
        yield doubtful("agents", f"of another release than {release}: {_named(other)}", fix)
    if soon:
        fix = "start these agents: they renew by themselves when they are connected"
        yield doubtful("agents", f"with a certificate that ends within 30 days or has ended: {_named(soon)}", fix)
    if declared and not engine_runs:
        yield fine("agents", f"{len(declared)} declared; none is connected, as no engine runs")
    elif declared and not (away or other or soon):
        yield fine("agents", f"{len(declared)} declared, all connected")


def _release(status: WorkerStatus | None) -> str:
    return status.seen.release if status is not None and status.seen is not None else ""


def _named(workers: list[str]) -> str:
    more = f" and {len(workers) - NAMED_MAX} more" if len(workers) > NAMED_MAX else ""
    return f"{', '.join(sorted(workers)[:NAMED_MAX])}{more}"
