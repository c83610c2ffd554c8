"""Check what a server's configuration names: addresses, sources, secrets, certificates."""

import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from reconciler.model.errors import ReconcilerError
from reconciler.server.binding import bound
from reconciler.server.checkup.findings import Finding, fine, wrong
from reconciler.server.configuration import Configuration
from reconciler.server.readable import named_files
from reconciler.server.sources.settings import SourceTable
from reconciler.server.state.looking import engine_runs
from reconciler.server.state.place import Place
from reconciler.store.directory import DataDirectory


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the server is to listen, as its command line says."""

    agents: str | None = None
    http: str | None = None


def settings_findings(configuration: Configuration, addresses: Addresses, place: Place) -> Iterator[Finding]:
    """Try what the configuration names."""
    folders = [place.files, *(DataDirectory(place.files.root / source.space) for source in configuration.source)]
    if not any(engine_runs(files) for files in folders):  # one that runs has its addresses
        named = {addresses.agents, addresses.http, *(source.agents for source in configuration.source)} - {None}
        yield from (_address(str(address)) for address in sorted(map(str, named)))
    yield from _files(configuration)
    yield from _web(configuration, addresses)
    for source in configuration.source:
        yield _source(source)
        if source.webhook is not None:
            yield _webhook(source)


def _files(configuration: Configuration) -> Iterator[Finding]:
    """Look at who may read the secrets that the configuration names, and who may change any file of it."""
    named = dict(named_files(configuration))
    closed = True
    for path, secret in named.items():
        try:
            mode = path.stat().st_mode & 0o777
        except OSError:
            continue  # what cannot be read is told of with what needs it
        may = "written" if mode & stat.S_IWOTH else "read" if secret and mode & stat.S_IROTH else ""
        if may:
            closed = False
            yield wrong("secrets", f"{path} can be {may} by everybody (mode {mode:04o})", f"run: chmod o-rwx {path}")
    if closed and any(named.values()):
        yield fine("secrets", "no file with a secret is open to everybody")


def _address(address: str) -> Finding:
    try:
        bound(address).close()
    except ReconcilerError as error:
        return wrong("address", error.message, error.hint)
    return fine("address", f"{address} is free to listen on")


def _web(configuration: Configuration, addresses: Addresses) -> Iterator[Finding]:
    table = configuration.http
    if addresses.http is not None:
        try:
            table.check(addresses.http)
        except ReconcilerError as error:
            yield wrong("http", error.message, error.hint)
    if table.tls_certificate is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(table.tls_certificate), str(table.tls_key))
        except (OSError, ssl.SSLError) as error:
            yield wrong(
                "http",
                f"the certificate {table.tls_certificate} and its key cannot be used: {error}",
                "name a chain and the key that belongs to it, both in PEM",
            )
        else:
            yield fine("http", f"the certificate {table.tls_certificate} and its key belong together")


def _source(source: SourceTable) -> Finding:
    check = f"source {source.space}"
    try:
        with TemporaryDirectory(prefix="reconcile-doctor-") as folder:
            seen = source.source(Path(folder)).mirror.look()
    except ReconcilerError as error:
        return wrong(check, error.message, error.hint or "look at its url and [source.login] in the configuration")
    except OSError as error:
        return wrong(check, f"{error.filename}: {error.strerror}", "make it readable for the server's account")
    return fine(check, f"{source.ref} of {source.url} is {seen[:12]}")


def _webhook(source: SourceTable) -> Finding:
    check, settings = f"webhook {source.space}", source.webhook
    assert settings is not None
    fix = f"write a secret into {settings.secret_file}, readable for the server's account, and the same into the forge"
    try:
        secret = settings.secret()
    except OSError as error:
        return wrong(check, f"the secret {settings.secret_file} cannot be read: {error.strerror}", fix)
    except IndexError:
        secret = b""
    if not secret:
        return wrong(check, f"the secret {settings.secret_file} is empty", fix)
    return fine(check, "its secret can be read")
