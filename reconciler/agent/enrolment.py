"""Become a worker: make a key, have it certified with a one-use token, and say what to commit; repeating is harmless."""

from __future__ import annotations

import base64
import binascii
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from reconciler.agent import dialling, identities, settings
from reconciler.agent.accounts import NoAccountError, account
from reconciler.agent.declaration import reached_at, worker_document
from reconciler.agent.faults import AgentError, ConnectError
from reconciler.agent.identities import NEXT
from reconciler.agent.plea import asked
from reconciler.agent.settings import NAME, NAME_RULE, Endpoint, Listening, Polling, settings_of
from reconciler.protocol.messages import PROTOCOL_VERSION, Certified, Enrol, Trust

TOKEN_BYTES_MAX = 4096  # a token has about 110
TOKEN_PARTS = 4
PIN_BYTES = 32  # of a SHA-256


@dataclass(frozen=True)
class Token:
    """A one-use token: the whole text for the server, and the thumbprint of the only server that may get it."""

    text: str = field(repr=False)
    pin: str


def token_of(text: str) -> Token:
    """Read a token, `rct1.ID.SECRET.PIN`; raise `AgentError`, without the text."""
    parts = text.strip().split(".")
    if not text.strip():
        raise AgentError("the token is empty; give the whole line that `reconcile token create` printed")
    try:
        pin = base64.urlsafe_b64decode(parts[-1] + "=") if len(parts) == TOKEN_PARTS and parts[0] == "rct1" else b""
    except (ValueError, binascii.Error):
        pin = b""
    if len(pin) != PIN_BYTES or len(text) > TOKEN_BYTES_MAX:
        raise AgentError("the token cannot be read; give the whole line that `reconcile token create` printed")
    return Token(text.strip(), "SHA256:" + base64.b64encode(pin).decode("ascii").rstrip("="))


def enrol(
    state: str,
    servers: Sequence[str],
    token: Token,
    *,
    listen: Optional[str] = None,
    proxy: Optional[str] = None,
    accounts: Sequence[str] = (),
) -> str:
    """Enrol with the first server that answers and return the Worker document; raise `AgentError`.

    A key that is there is kept, and so is the subscription, so that a second run with the same token repeats the first.
    """
    endpoint = _endpoint(state, servers, listen, proxy)
    _check_accounts(accounts)
    credentials = settings.proxy_credentials(state) if proxy is not None else None
    identity = identities.made(state, "agent")  # the server puts the name into the certificate that the token is for
    question = Enrol(
        versions=(PROTOCOL_VERSION,),
        token=token.text,
        request=identity.request,
        subscription=endpoint.subscription if isinstance(endpoint, Polling) else "",
        listen=str(reached_at(endpoint)) if isinstance(endpoint, Listening) else "",
    )
    answer = _answer(dialling.routes(state, Polling(tuple(servers), "", proxy)), question, token)
    return _stored(state, endpoint, identity, answer, credentials, accounts=_accounts(state, accounts))


def trust_by_hand(
    state: str,
    authorities: str,
    pin: str,
    *,
    listen: str,
    worker: Optional[str],
    pools: Sequence[str],
    accounts: Sequence[str] = (),
) -> str:
    """Make a listening agent that cannot dial out trust a server, and return its Worker document; raise `AgentError`."""
    name = worker or _former_name(state) or socket.gethostname().split(".")[0].lower()
    if not NAME.fullmatch(name):
        raise AgentError(f"{name!r} cannot be a worker's name: {NAME_RULE}; give one with --name")
    _checked_pin(pin)
    _check_accounts(accounts)
    certificates = tuple(block[0] for block in identities.BLOCK.finditer(authorities) if block[1] == "CERTIFICATE")
    if not certificates:
        raise AgentError("the file of --ca holds no certificate; `reconcile trust show --ca` prints it")
    for certificate in certificates:
        identities.thumbprint_of_certificate(certificate)
    endpoint = Listening(listen)
    reached_at(endpoint)
    identity = identities.made_self_signed(state, name)
    found = settings_of(name, tuple(pools), endpoint, _accounts(state, accounts))
    settings.keep_trust(state, Trust(certificates, (pin,)))
    settings.keep_settings(state, found)
    return worker_document(found, identity.thumbprint)


def rotate(state: str) -> tuple[str, str]:
    """Make the key that follows the present one and return the thumbprints of both; raise `AgentError`."""
    found = settings.settings(state)
    current = identities.identity(state)
    if current is None:
        raise AgentError(f"{state}: this agent has no key yet; run `reconcile agent enrol` first")
    return current.thumbprint, identities.made(state, found.worker, NEXT).thumbprint


def document(state: str) -> str:
    """Return the Worker document of an agent that has a key, with the next one beside it during a change of key."""
    known = [identities.identity(state), identities.identity(state, NEXT)]
    return worker_document(settings.settings(state), *(found.thumbprint for found in known if found is not None))


def _endpoint(state: str, servers: Sequence[str], listen: Optional[str], proxy: Optional[str]) -> Endpoint:
    """Return the endpoint that the options ask for; a subscription is kept for ever."""
    for server in servers:
        settings.address(server, settings.POLLING_PORT)
    if listen is not None:
        endpoint = Listening(listen)
        reached_at(endpoint)
        return endpoint
    former = _former(state)
    known = former.polling if former is not None else None
    subscription = known.subscription if known is not None else _subscription(state)
    return Polling(tuple(servers), subscription, proxy)


def _former(state: str) -> Optional[settings.Settings]:
    """Return the settings of an enrolment before this one."""
    try:
        return settings.settings(state)
    except AgentError:  # not enrolled yet
        return None


def _accounts(state: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return the accounts that were given, else those that were allowed before."""
    former = _former(state)
    return tuple(given) or (former.accounts if former is not None else ())


def _check_accounts(names: Sequence[str]) -> None:
    for name in names:
        try:
            account(name)
        except NoAccountError as error:
            raise AgentError(f"--account: {error}") from None


def _former_name(state: str) -> str:
    try:
        return settings.settings(state).worker
    except AgentError:  # nobody has said anything here yet
        return ""


def _subscription(state: str) -> str:
    """Return a new subscription; it is derived from the key, so that an enrolment that was cut short finds it again."""
    thumbprint = identities.made(state, "agent").thumbprint
    letters = "".join(letter for letter in thumbprint.partition(":")[2].lower() if letter.isalnum())
    return f"poll://{letters[:16]}"


def _answer(routes: Sequence[dialling.Route], question: Enrol, token: Token) -> Certified:
    """Ask each server until one answers; one that is not the token's gets nothing."""
    failures: list[str] = []
    for route in routes:
        try:
            connection = dialling.dialled(route, None, Trust((), (token.pin,)))
            with connection:
                return asked(connection, question, str(route))
        except ConnectError as error:
            failures.append(str(error))
    raise AgentError("; ".join(failures))


def _stored(
    state: str,
    endpoint: Endpoint,
    identity: identities.Identity,
    answer: Certified,
    credentials: Optional[str],
    *,
    accounts: tuple[str, ...],
) -> str:
    if not NAME.fullmatch(answer.worker) or not answer.trust.pins or not answer.trust.authorities:
        raise AgentError("the server's answer holds no name or no trust; bring agent and server to nearer releases")
    certified = identity.certified(answer.certificate)
    found = settings_of(answer.worker, answer.pools, endpoint, accounts)
    identities.keep(state, certified)
    settings.keep_trust(state, answer.trust)
    if credentials is not None and settings.CREDENTIALS_VARIABLE in os.environ:
        settings.keep_proxy_credentials(state, credentials)
    settings.keep_settings(state, found)  # the last: with it the agent counts as enrolled
    return worker_document(found, certified.thumbprint)


def _checked_pin(pin: str) -> None:
    try:
        is_pin = pin.startswith("SHA256:") and len(base64.b64decode(pin[7:] + "=", validate=True)) == PIN_BYTES
    except (ValueError, binascii.Error):
        is_pin = False
    if not is_pin:
        raise AgentError(f"{pin[:80]!r} is no pin; `reconcile trust show` prints it: SHA256: and 43 letters")
