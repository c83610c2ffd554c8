"""Check an installation: each finding is a sentence, and where something is wrong, what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.model.errors import ReconcilerError
from reconciler.server.checkup.findings import Finding, fine, wrong
from reconciler.server.checkup.machine import clock_findings, program_findings, service_findings
from reconciler.server.checkup.settings import Addresses, settings_findings
from reconciler.server.checkup.state import state_findings
from reconciler.server.configuration import Configuration, read_configuration
from reconciler.server.state.place import Place


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: a state, the configuration of its server, and where that listens."""

    place: Place
    config: Path | None
    addresses: Addresses


def checked(subject: Subject, now: float) -> Iterator[Finding]:
    """Yield everything that was found, in the order in which it is to be mended."""
    try:
        configuration = read_configuration(subject.config)
    except ReconcilerError as error:
        yield wrong("configuration", error.message, error.hint)
        configuration = Configuration()
    else:
        if subject.config is not None:
            yield fine("configuration", f"{subject.config} can be read")
    yield from program_findings(configuration)
    yield from clock_findings()
    yield from service_findings(subject.place.files)
    yield from state_findings(subject.place, now)
    yield from settings_findings(configuration, subject.addresses, subject.place)
