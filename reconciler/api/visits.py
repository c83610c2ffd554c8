"""Who calls, and what they may do: each request shows a token, and each operation names the permission that it needs."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from reconciler.api.apart import Apart
from reconciler.api.bounds import Rates
from reconciler.api.faults import ApiFault
from reconciler.model.access import Bearer, Permission
from reconciler.model.errors import ReconcilerError
from reconciler.server.controller.controller import Controller
from reconciler.server.orders.granting import FORM, bearer_of, digest_of_text
from reconciler.server.space_service import SpaceService
from reconciler.server.state import origins
from reconciler.server.trust.oidc import Issuers
from reconciler.store import access
from reconciler.store.database import Transaction, Work
from reconciler.store.reader import open_for_reading

PERMISSION = "x-permission"
"""Where the description of an operation names what it needs."""

NAME = r"^[^/\x00-\x1f\x7f]{1,200}$"
"""What a part of a path may be; whether there is anything of that name is looked up."""

SEEN_EACH = 60.0
"""Seconds between two notes that a token was used."""

BEARER = HTTPBearer(auto_error=False, description="A token `rcl_…`, or one that a trusted OIDC issuer has signed.")

Result = TypeVar("Result")


@dataclass(slots=True)
class Gate:
    """What lets callers in: the spaces, the issuers of tokens that are trusted, the buckets of requests."""

    spaces: Sequence[SpaceService]
    issuers: Issuers
    rates: Rates
    strangers: Rates
    """Of addresses that show no good token."""
    planning: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """One plan at a time: each takes a processor for itself."""
    backups: Apart = field(default_factory=lambda: Apart("backup"))
    checkups: Apart = field(default_factory=lambda: Apart("checkup"))
    closing: bool = False
    """Is the server about to end, so that nothing is to go on?"""
    _seen: dict[str, float] = field(default_factory=dict)

    async def bearer(self, text: str) -> Bearer | None:
        """Return who bears a token, as far as a space that this node leads knows it, or a trusted issuer."""
        if not text.startswith(FORM):
            return await self.issuers.bearer(text)
        for space in self.spaces:
            controller = space.post.controller
            if controller is None:
                continue
            now = time.time()
            found = await controller.engine.store.glance(partial(bearer_of, text=text, now=now))
            if found is not None:
                await self._see(controller, digest_of_text(text), now)
                return found
        return None

    async def glance(self, text: str, permission: Permission, name: str, work: Work[Result | None]) -> Result | None:
        """Read a few rows of a space for whoever bears a token of it, has the permission, and comes not too often.

        The token is looked up in the same look at the state. None where anything stands against it or nothing is found.
        """
        service = next((space for space in self.spaces if space.name == name), None)
        controller = service.post.controller if service is not None else None
        if controller is None or not text.startswith(FORM):
            return None
        now = time.time()

        def both(tx: Transaction) -> tuple[Bearer, Result | None] | None:
            bearer = bearer_of(tx, text, now)
            return (bearer, work(tx)) if bearer is not None and bearer.may(permission, name) else None

        bearer, found = await controller.engine.store.glance(both) or (None, None)
        if bearer is None or found is None or self.rates.take(bearer.key):
            return None
        await self._see(controller, digest_of_text(text), now)
        return found

    async def _see(self, controller: Controller, digest: str, now: float) -> None:
        if now - self._seen.get(digest, 0.0) >= SEEN_EACH:
            self._seen = {known: at for known, at in self._seen.items() if now - at < SEEN_EACH}
            self._seen[digest] = now
            await controller.engine.store.write(lambda tx: access.see_use(tx, digest, now))

    def space(self, name: str) -> SpaceService | None:
        """Return a space by its name; one that nobody could name yet where there is no other."""
        found = next((space for space in self.spaces if space.name == name), None)
        return found or next((space for space in self.spaces if not space.name), None)


@dataclass(frozen=True, slots=True)
class Visit:
    """One caller in one space that this node leads."""

    gate: Gate
    bearer: Bearer
    text: str
    permission: Permission
    service: SpaceService
    controller: Controller
    address: str

    @property
    def origin(self) -> str:
        """From where it comes, for the audit."""
        return origins.of_caller(self.address)

    async def read(self, work: Work[Result]) -> Result:
        """Read from the state of the space."""
        return await self.controller.engine.store.read(work)

    async def write(self, work: Work[Result]) -> Result:
        """Write to the state of the space."""
        return await self.controller.engine.store.write(work)

    async def holds(self) -> bool:
        """Say whether the caller may still be here, and this node still leads: for answers that take long."""
        if self.service.post.controller is not self.controller:
            return False
        bearer = await self.gate.bearer(self.text)
        return bearer is not None and bearer.may(self.permission, self.service.name)


def gate_of(request: Request) -> Gate:
    """Return the gate of the server that was called."""
    gate = request.app.state.gate
    assert isinstance(gate, Gate)
    return gate


def address_of(request: Request) -> str:
    """Return the address of a caller."""
    return request.client.host if request.client else "nowhere"


async def known(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
) -> tuple[Bearer, str]:
    """Return who calls and their token; raises 401, and 429 where they call too often."""
    gate = gate_of(request)
    text = credentials.credentials if credentials is not None else ""
    bearer = await gate.bearer(text) if text else None
    if bearer is None:
        _take(gate.strangers, address_of(request))
        away = [space for space in gate.spaces if space.post.controller is None] if text.startswith(FORM) else []
        for space in away:
            if await asyncio.to_thread(_may_know, space, text):
                raise _elsewhere(space, space.name or "the space")
        raise ApiFault(
            401,
            "the token is unknown, expired or revoked" if text else "the request shows no token",
            "make one where the server runs: reconcile access create",
            headers={"WWW-Authenticate": "Bearer"},
        )
    _take(gate.rates, bearer.key)
    return bearer, text


def _may_know(space: SpaceService, text: str) -> bool:
    """Say whether the state of a space that this node does not lead knows a token, or cannot be asked."""
    try:
        readers = open_for_reading(space.post.place.data)
        if readers is None:
            return True  # whoever makes the state is about to
        with readers:
            return readers.read_now(partial(bearer_of, text=text, now=time.time())) is not None
    except ReconcilerError:
        return True


Known = Annotated[tuple[Bearer, str], Depends(known)]
SpaceName = Annotated[str, Path(description="The name of the space.", pattern=NAME)]


async def visit(request: Request, caller: Known, space: SpaceName) -> Visit:
    """Let a caller into a space; raises 403 or 404 where they may not, and 503 where another node leads."""
    bearer, text = caller
    gate = gate_of(request)
    permission = permission_of(request)
    service = gate.space(space)
    if service is None or not bearer.reaches(space):
        raise ApiFault(404, f'there is no space "{space}" that this token has a role in', "see: GET /api/v1/spaces")
    if not bearer.may(permission, space):
        raise ApiFault(
            403,
            f"{bearer.name} has no role in {space} that gives {permission}",
            "ask for a token with another role",
        )
    controller = service.post.controller
    if controller is None or service.name not in {space, ""}:  # nobody knows its name before its first commit
        raise _elsewhere(service, space)
    return Visit(gate, bearer, text, permission, service, controller, address_of(request))


Visited = Annotated[Visit, Depends(visit)]


def needs(permission: Permission) -> dict[str, str]:
    """Say in the description of an operation what it needs; `visit` holds callers to it."""
    return {PERMISSION: permission.value}


def permission_of(request: Request) -> Permission:
    """Return what the operation needs that was called."""
    return Permission(request.scope["route"].openapi_extra[PERMISSION])


def _elsewhere(service: SpaceService, name: str) -> ApiFault:
    """Return the fault for a space that this node does not lead."""
    leader = service.post.leader
    words = f"the node {leader} leads {name}" if leader else f"no node leads {name} yet"
    return ApiFault(503, words, "call that node" if leader else "try again", code=3, headers={"Retry-After": "5"})


def _take(rates: Rates, caller: str) -> None:
    if seconds := rates.take(caller):
        raise ApiFault(
            429,
            f"more than {rates.rate:g} requests a second",
            f"come again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )
