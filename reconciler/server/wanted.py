"""Which workers are to be linked, read from the store: declared ones, leaving ones with attempts, less the revoked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.model.infrastructure import Listening, Polling, WorkerSpec
from reconciler.model.organisation import AccountSpec, ProxySpec
from reconciler.server.registered import Registered
from reconciler.store import attempts, enrolment, leaving, objects, worker_status
from reconciler.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Wanted:
    """One worker with an agent; `digest` is that of its declaration, `thumbprints` are those that hold."""

    name: str
    digest: str
    endpoint: Listening | Polling
    thumbprints: frozenset[str]
    proxy: ProxySpec | None = None
    account: AccountSpec | None = None

    @property
    def registered(self) -> Registered:
        """How the doorkeeper knows it."""
        subscription = str(self.endpoint.subscription) if isinstance(self.endpoint, Polling) else ""
        return Registered(self.name, (), tuple(sorted(self.thumbprints)), subscription)


@dataclass(frozen=True, slots=True)
class WantedWorkers:
    """All of them at one moment; `epochs` and `stores` (state directories) are those of their last sessions."""

    workers: Mapping[str, Wanted]
    revoked: frozenset[str]
    epochs: Mapping[str, int]
    stores: Mapping[str, str]


def wanted_workers(tx: Transaction, before: WantedWorkers) -> WantedWorkers:
    """Read them; what was parsed `before` and has not changed is not parsed again."""
    revoked = frozenset(enrolment.revocations(tx))
    proxies = objects.of_kind(tx, "Proxy")
    accounts = objects.of_kind(tx, "Account")
    declared = objects.of_kind(tx, "Worker")
    going = leaving.leaving(tx)
    kept = {thumbprint for spec in going.values() for thumbprint in _thumbprints(spec)}
    specs = {name: found.spec for name, found in declared.items()} | going
    workers: dict[str, Wanted] = {}
    for name, text in specs.items():
        known = before.workers.get(name)
        spec = WorkerSpec.parse(text)
        endpoint = spec.endpoint.listening or spec.endpoint.polling
        if endpoint is None:
            continue
        proxy = account = None
        if isinstance(endpoint, Listening) and endpoint.proxy in proxies:
            proxy = ProxySpec.parse(proxies[endpoint.proxy].spec)
            account = AccountSpec.parse(accounts[proxy.account].spec) if proxy.account in accounts else None
        thumbprints = frozenset(map(str, endpoint.thumbprints)) - revoked
        if name not in going:
            thumbprints -= kept  # who leaves is known by the former name until its last attempt has ended
        workers[name] = Wanted(name, text, endpoint, thumbprints, proxy, account)
        if known == workers[name]:
            workers[name] = known
    seen = {name: status.seen for name, status in worker_status.statuses(tx).items() if status.seen is not None}
    stores = {name: found.store for name, found in seen.items()}
    return WantedWorkers(workers, revoked, dict(_epochs(tx, workers)), stores)


def _thumbprints(text: str) -> frozenset[str]:
    endpoint = WorkerSpec.parse(text).endpoint
    agent = endpoint.listening or endpoint.polling
    return frozenset(map(str, agent.thumbprints)) if agent is not None else frozenset()


def _epochs(tx: Transaction, names: Mapping[str, Wanted]) -> Iterator[tuple[str, int]]:
    for name in names:
        yield name, attempts.worker_epoch(tx, name)
