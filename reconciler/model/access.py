"""Who may do what through the API: permissions, the roles that hold them, tokens, and whoever bears one.

Times are seconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

EVERY_SPACE = "*"


class Permission(StrEnum):
    """What an operation of the API needs."""

    WORKER_VIEW = "WorkerView"
    WORKER_EDIT = "WorkerEdit"
    DEPLOYMENT_RUN = "DeploymentRun"
    INTERVENTION_SUBMIT = "InterventionSubmit"
    AUDIT_VIEW = "AuditView"
    ADMINISTER = "Administer"


MEANINGS: Mapping[Permission, str] = {
    Permission.WORKER_VIEW: "See what is: status, commits, plans, objects, workers, tasks and their logs.",
    Permission.WORKER_EDIT: "Drain workers, make and revoke enrolment tokens, revoke identities.",
    Permission.DEPLOYMENT_RUN: "Cancel and retry tasks, have the source looked at now.",
    Permission.INTERVENTION_SUBMIT: "Answer the questions of tasks, approve and reject plans.",
    Permission.AUDIT_VIEW: "Read who did what.",
    Permission.ADMINISTER: "Suspend and resume, take revocations back, make tokens of the API, change keys, back up, check the server.",
}

ROLES: Mapping[str, frozenset[Permission]] = {
    "viewer": frozenset({Permission.WORKER_VIEW}),
    "auditor": frozenset({Permission.WORKER_VIEW, Permission.AUDIT_VIEW}),
    "approver": frozenset({Permission.WORKER_VIEW, Permission.INTERVENTION_SUBMIT}),
    "deployer": frozenset({Permission.WORKER_VIEW, Permission.DEPLOYMENT_RUN}),
    "operator": frozenset({Permission.WORKER_VIEW, Permission.WORKER_EDIT, Permission.DEPLOYMENT_RUN}),
    "administrator": frozenset(Permission),
}
"""What each role may do."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in a space, or in every one."""

    role: str
    space: str

    def holds(self, permission: Permission, space: str) -> bool:
        """Say whether it gives a permission in a space."""
        return self.reaches(space) and permission in ROLES.get(self.role, frozenset())

    def reaches(self, space: str) -> bool:
        """Say whether it is about a space."""
        return self.space in {EVERY_SPACE, space}


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token of the API; `digest` is the SHA-256 of its text."""

    name: str
    digest: str = field(repr=False)
    grants: tuple[Grant, ...]
    created_by: str
    created_at: float
    expires_at: float
    last_used_at: float | None = None
    revoked_at: float | None = None

    def state(self, now: float) -> str:
        """Say in a word whether it can be used."""
        if self.revoked_at is not None:
            return "revoked"
        return "open" if self.expires_at > now else "expired"


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whoever calls: as the audit names them, and what they may do; no two have the same `key`."""

    name: str
    grants: tuple[Grant, ...]
    key: str
    groups: tuple[str, ...] = ()
    """The groups that who vouches for them says they are in."""

    def may(self, permission: Permission, space: str) -> bool:
        """Say whether they may do it in a space."""
        return any(grant.holds(permission, space) for grant in self.grants)

    def reaches(self, space: str) -> bool:
        """Say whether they have any role in a space."""
        return any(grant.reaches(space) for grant in self.grants)
