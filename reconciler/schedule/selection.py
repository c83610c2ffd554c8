"""Which steps of a process a task leaves out, and why."""

from collections.abc import Collection

from reconciler.model.work import Step


def leaves_out(step: Step, environment: str, tenant_tags: Collection[str], skipped: Collection[str]) -> str | None:
    """Say why a task does not run the step, or None if it does; required steps cannot be skipped."""
    if step.disabled:
        return "is disabled"
    if step.environments.only and environment not in step.environments.only:
        return f"runs only in {', '.join(step.environments.only)}"
    if environment in step.environments.except_:
        return f"does not run in {environment}"
    if step.tenant_tags and not set(step.tenant_tags) & set(tenant_tags):
        return f"runs only for tenants with {' or '.join(step.tenant_tags)}"
    if step.key in skipped and not step.required:
        return "is skipped by the deployment"
    return None
