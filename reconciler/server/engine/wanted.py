"""Which workers are to be linked, read from the store: declared ones, leaving ones with attempts, less the revoked."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from reconciler.model.infrastructure import Listening, Polling, WorkerSpec
from reconciler.model.live import LiveObject
from reconciler.model.organisation import AccountSpec, ProxySpec
from reconciler.model.spec import Address
from reconciler.server.state.registered import Registered
from reconciler.store import attempts, enrolment, leaving, worker_status
from reconciler.store.counters import last_number
from reconciler.store.database import Transaction
from reconciler.store.known_objects import KnownObjects


@dataclass(frozen=True, slots=True)
class LastSession:
    """What is known of a worker's last session: its epoch, and the state directory that it was held on."""

    epoch: int
    store: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """One worker with an agent, declared by `spec` (canonical JSON); `thumbprints` are those that hold."""

    name: str
    spec: str = field(compare=False, repr=False)
    endpoint: Listening | Polling
    thumbprints: frozenset[str]
    proxy: ProxySpec | None = None
    account: AccountSpec | None = None
    former: bool = False
    """Is its machine spoken with under another name still, so that nobody is to be met under this one?"""

    @property
    def registered(self) -> Registered:
        """How the doorkeeper knows it."""
        subscription = str(self.endpoint.subscription) if isinstance(self.endpoint, Polling) else ""
        return Registered(self.name, (), tuple(sorted(self.thumbprints)), subscription)

    @property
    def way(self) -> tuple[object, ...]:
        """What a session stands on: how it is dialled, or that it calls; not who may answer."""
        if isinstance(self.endpoint, Listening):
            return (self.endpoint.host, self.endpoint.port, self.proxy, self.account)
        return ()


@dataclass(frozen=True, slots=True)
class WantedWorkers:
    """All of them at one moment; `sessions` are the last ones of those that were not wanted before."""

    workers: Mapping[str, Wanted]
    revoked: frozenset[str]
    sessions: Mapping[str, LastSession]
    mark: tuple[object, ...] = ()
    """What they were read from; while that is the same, so are they."""
    leaving: frozenset[str] = frozenset()
    """Those of them that leave."""


NOBODY = WantedWorkers({}, frozenset(), {})
"""Before the first look."""


def wanted_workers(tx: Transaction, known: KnownObjects, before: WantedWorkers) -> WantedWorkers:
    """Read them; what has not changed since `before` is the same."""
    revoked, going = frozenset(enrolment.revocations(tx)), leaving.leaving(tx)
    mark = (last_number(tx, "serial"), revoked, going)
    if mark == before.mark:
        return replace(before, sessions={})
    declared = known.at(tx)
    proxies, accounts = _of_kind(declared, "Proxy"), _of_kind(declared, "Account")
    specs = _of_kind(declared, "Worker") | going
    endpoints = {name: _endpoint(spec, before.workers.get(name)) for name, spec in specs.items()}
    kept = {each for name in going if (endpoint := endpoints[name]) for each in endpoint.thumbprints}
    workers: dict[str, Wanted] = {}
    is_alike = revoked == before.revoked and not going and not before.leaving
    for name, endpoint in endpoints.items():
        if endpoint is None:
            continue
        last = before.workers.get(name)
        proxied = isinstance(endpoint, Listening) and endpoint.proxy is not None
        if is_alike and last is not None and last.spec == specs[name] and not proxied:
            workers[name] = last
            continue
        thumbprints = frozenset(map(str, endpoint.thumbprints)) - revoked
        former = False
        if name not in going:
            former = bool(thumbprints) and thumbprints <= kept
            thumbprints -= kept  # who leaves is known by the former name until its last attempt has ended
        proxy = account = None
        if isinstance(endpoint, Listening) and endpoint.proxy in proxies:
            proxy = ProxySpec.parse(proxies[endpoint.proxy])
            account = AccountSpec.parse(accounts[proxy.account]) if proxy.account in accounts else None
        workers[name] = Wanted(name, specs[name], endpoint, thumbprints, proxy, account, former)
    sessions = {name: _last_session(tx, name) for name in workers.keys() - before.workers.keys()}
    return WantedWorkers(workers, revoked, sessions, mark, frozenset(going))


def _of_kind(declared: Mapping[Address, LiveObject], kind: str) -> dict[str, str]:
    """Return the specs of one kind by name."""
    return {address.name: found.spec for address, found in declared.items() if address.kind == kind}


def _endpoint(spec: str, known: Wanted | None) -> Listening | Polling | None:
    """Return where an agent is met, None for a worker without one."""
    if known is not None and known.spec == spec:
        return known.endpoint
    endpoint = WorkerSpec.parse(spec).endpoint
    return endpoint.listening or endpoint.polling


def _last_session(tx: Transaction, name: str) -> LastSession:
    status = worker_status.status(tx, name)
    return LastSession(attempts.worker_epoch(tx, name), status.seen.store if status and status.seen else "")
