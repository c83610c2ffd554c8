"""Check an installation: each finding is a sentence, and where something is wrong, what to do."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.model.errors import ReconcilerError
from reconciler.server.checkup.findings import Finding, fine, wrong
from reconciler.server.checkup.machine import clock_findings, program_findings, service_findings
from reconciler.server.checkup.settings import Addresses, settings_findings
from reconciler.server.checkup.state import state_findings
from reconciler.server.configuration import Configuration, read_configuration
from reconciler.server.space_service import SpaceService
from reconciler.server.state.place import Place


@dataclass(frozen=True, slots=True)
class Named:
    """What is named beside a state: the configuration of its server, and where that is to listen."""

    config: Path | None = None
    addresses: Addresses = field(default_factory=Addresses)


def checked(place: Place, named: Named, now: float) -> Iterator[Finding]:
    """Yield everything that was found, in the order in which it is to be mended."""
    try:
        configuration = read_configuration(named.config)
    except ReconcilerError as error:
        yield wrong("configuration", error.message, error.hint)
        configuration = Configuration()
    else:
        if named.config is not None:
            yield fine("configuration", f"{named.config} can be read")
    yield from _looked(configuration, named.addresses, place, now)


def found_in_space(space: SpaceService, now: float) -> list[Finding]:
    """Return what is found of one space of a server that runs, and of the part of its configuration that is about it."""
    settings = space.followed.settings
    its_own = space.configuration.model_copy(update={"source": [settings] if settings is not None else []})
    return list(_looked(its_own, Addresses(), space.place, now))


def _looked(configuration: Configuration, addresses: Addresses, place: Place, now: float) -> Iterator[Finding]:
    yield from program_findings(configuration)
    yield from clock_findings()
    yield from service_findings(place.files)
    yield from state_findings(place, now)
    yield from settings_findings(configuration, addresses, place)
