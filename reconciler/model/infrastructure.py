"""Where work runs: pools, workers, policies, targets, execution locations."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from reconciler.model.spec import Ref, Spec
from reconciler.model.text import Duration, Label, Name, Percentage, Requirement, Size, Subscription, Text, Thumbprint

PoolName = Annotated[Name, Ref("WorkerPool")]
Port = Annotated[int, Field(ge=1, le=65535)]


class DynamicPool(Spec):
    """Workers made on demand and destroyed afterwards."""

    provider: dict[str, dict[str, Text]] = Field(description="Exactly one provider and its settings.")
    min: Annotated[int, Field(ge=0)] = Field(0, description="Workers kept ready.")
    max: Annotated[int, Field(ge=1)] = Field(10, description="Workers at most.")
    idle_timeout: Duration = Field(Duration("60m"), description="An idle worker is destroyed after this.")
    max_age: Duration = Field(Duration("72h"), description="Any worker is destroyed after this.")


class WorkerPoolSpec(Spec):
    """A set of workers that steps ask for by one name."""

    description: Text = Field("", description="What the pool is for.")
    default: bool = Field(False, description="Used by every step that names no pool; one per space.")
    allowed_environments: tuple[Annotated[Name, Ref("Environment")], ...] | None = Field(
        None, description="Only deployments to these environments may use the pool; absent, all."
    )
    selection: Literal["leastLeases", "roundRobin"] = Field("leastLeases", description="How a worker is chosen.")
    max_concurrent_attempts: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Running attempts at most; null is no cap."
    )
    min_workers: Annotated[int, Field(ge=0)] = Field(0, description="Warn when the pool has fewer workers.")
    dynamic: DynamicPool | None = Field(None, description="Makes the pool dynamic; absent, it is static.")


DEFAULT_PORTS = {"listening": 10933, "ssh": 22}


class Listening(Spec):
    """An agent that listens; the server dials it."""

    host: Text = Field(description="Name or address of the machine.")
    port: Port = Field(DEFAULT_PORTS["listening"], description="The agent's port.")
    thumbprints: Annotated[tuple[Thumbprint, ...], Field(min_length=1, max_length=2)] = Field(
        description="Current and, during a change of key, next identity."
    )
    proxy: Annotated[Name, Ref("Proxy")] | None = Field(None, description="The HTTP CONNECT proxy to dial through.")


class Polling(Spec):
    """An agent that dials the server."""

    subscription: Subscription = Field(description="The identity under which it calls.")
    thumbprints: Annotated[tuple[Thumbprint, ...], Field(min_length=1, max_length=2)] = Field(
        description="Current and, during a change of key, next identity."
    )


class Ssh(Spec):
    """A machine reached by SSH; no agent is installed."""

    host: Text = Field(description="Name or address of the machine.")
    port: Port = Field(DEFAULT_PORTS["ssh"], description="The SSH server's port.")
    account: Annotated[Name, Ref("Account")] = Field(description="The account that logs in.")
    host_key: Text = Field(description="The machine's public key, as in known_hosts.")
    jump: Text | None = Field(None, description="A host to jump through.")
    proxy: Annotated[Name, Ref("Proxy")] | None = Field(None, description="The proxy to dial through.")


def _exactly_one(spec: Spec, what: str) -> None:
    given = [field for field in type(spec).model_fields if getattr(spec, field) is not None]
    if len(given) != 1:
        names = ", ".join(field.alias or name for name, field in type(spec).model_fields.items())
        raise PydanticCustomError("exactly-one", "{what} has exactly one of {names}", {"what": what, "names": names})


class Endpoint(Spec):
    """How a machine is reached: exactly one of listening, polling, ssh."""

    listening: Listening | None = Field(None, description="The server dials the agent.")
    polling: Polling | None = Field(None, description="The agent dials the server.")
    ssh: Ssh | None = Field(None, description="Over SSH, without an agent.")

    @model_validator(mode="after")
    def _one(self) -> "Endpoint":
        _exactly_one(self, "an endpoint")
        return self


class Drain(Spec):
    """How a worker that leaves finishes its work."""

    deadline: Duration = Field(Duration("1h"), description="How long running attempts may take.")
    then: Literal["wait", "cancel"] = Field("wait", description="What happens to what still runs at the deadline.")


MEMORY_MIN, MEMORY_MAX = Size("4MiB"), Size("1048576GiB")
"""No shell starts in less; no machine has more."""


def _memory(size: Size) -> Size:
    if MEMORY_MIN.bytes <= size.bytes <= MEMORY_MAX.bytes:
        return size
    raise PydanticCustomError("bad-value", f"a size from {MEMORY_MIN} to {MEMORY_MAX} is expected")


class Limits(Spec):
    """What a script and every process that it starts may use together."""

    memory: Annotated[Size, AfterValidator(_memory)] | None = Field(
        None, description="Memory at most; a script that needs more is killed."
    )
    cpus: Annotated[float, Field(ge=0.01, le=10_000)] | None = Field(
        None, description="Processors at most; 1.5 is one and a half."
    )
    processes: Annotated[int, Field(ge=1, le=4_194_304)] | None = Field(
        None, description="Processes and threads at a time."
    )


class WorkerTraits(Spec):
    """What a worker may say of itself, and what a set of workers may say of all."""

    policy: Annotated[Name, Ref("MachinePolicy")] | None = Field(
        None, description="Its machine policy; absent, the default one."
    )
    state: Literal["enabled", "disabled", "draining"] = Field("enabled", description="May it get new attempts?")
    drain: Drain = Field(Drain.model_construct(), description="How it finishes when it leaves.")
    slots: Annotated[int, Field(ge=1)] | None = Field(None, description="Attempts at a time; null is no cap.")
    isolation: Literal["none", "user", "sandbox"] = Field(
        "none", description="The least isolation that steps get here."
    )
    run_as: Text | None = Field(None, description="The account that steps run under.")
    limits: Limits = Field(Limits.model_construct(), description="What each attempt may use at most here.")
    capabilities: dict[Label, Text] = Field({}, description="Declared capabilities, joined with the discovered ones.")


class WorkerSpec(WorkerTraits):
    """A machine that runs steps."""

    pools: Annotated[tuple[PoolName, ...], Field(min_length=1)] = Field(description="The pools it is a member of.")
    endpoint: Endpoint = Field(description="How it is reached.")


class WorkerDefaults(WorkerTraits):
    """What all workers of a set share."""

    pools: tuple[PoolName, ...] = Field((), description="The pools they are members of.")
    labels: dict[Label, Text] = Field({}, description="Labels of every worker.")


class WorkerEntry(WorkerTraits):
    """One worker of a set; what it says replaces the default, labels are joined."""

    name: Name = Field(description="The worker's name.")
    display_name: Text | None = Field(None, description="What people read.")
    labels: dict[Label, Text] = Field({}, description="Labels beside the set's.")
    protect: bool = Field(False, description="Never removed by a plan.")
    renamed_from: Name | None = Field(None, description="The former name.")
    pools: tuple[PoolName, ...] = Field((), description="The pools it is a member of, instead of the default ones.")
    endpoint: Endpoint = Field(description="How it is reached.")


class WorkerSetSpec(Spec):
    """Many workers in one document; each becomes a Worker with its own address."""

    defaults: WorkerDefaults = Field(WorkerDefaults.model_construct(), description="What they share.")
    workers: tuple[WorkerEntry, ...] = Field(description="The workers.")


class Every(Spec):
    """A schedule by interval or by cron."""

    every: Duration | None = Field(None, description="The interval.")
    cron: Text | None = Field(None, description="A cron expression of five fields.")
    timezone: Text = Field("UTC", description="The time zone that cron is read in.")

    @model_validator(mode="after")
    def _one(self) -> "Every":
        if (self.every is None) == (self.cron is None):
            raise PydanticCustomError("exactly-one", "a schedule has exactly one of every and cron")
        return self


def _word_or_map(value: object) -> str:
    return "word" if isinstance(value, str) else "map"


class HealthScripts(Spec):
    """What a full health check runs; null is the built-in script."""

    bash: Text | None = Field(None, description="For machines with bash.")
    powershell: Text | None = Field(None, description="For machines with PowerShell.")


class HealthCheck(Spec):
    """How and when machines are checked."""

    type: Literal["full", "connectivityOnly"] = Field(
        "full", description="full runs a script; connectivityOnly does not."
    )
    schedule: Annotated[
        Annotated[Literal["never"], Tag("word")] | Annotated[Every, Tag("map")], Discriminator(_word_or_map)
    ] = Field(Every.model_construct(every=Duration("1h")), description="When.")
    scripts: HealthScripts = Field(HealthScripts.model_construct(), description="What to run.")
    timeout: Duration = Field(Duration("5m"), description="How long a check may take; at most 30m.")


class Cleanup(Spec):
    """When an unavailable machine is removed."""

    after_unavailable: Duration = Field(description="Counting only time in which the server watched.")


class AgentUpdates(Spec):
    """How the agent is kept up to date."""

    agent: Literal["manual", "onUse", "always"] = Field("manual", description="When the agent is updated.")


class Connection(Spec):
    """Patience with a machine."""

    connect_timeout: Duration = Field(Duration("60s"), description="How long one connection may take.")
    retries: Annotated[int, Field(ge=0, le=100)] = Field(5, description="Further tries.")
    retry_interval: Duration = Field(Duration("1s"), description="Between tries.")
    call_retry_budget: Duration = Field(Duration("150s"), description="All tries of one call together.")
    polling_queue_timeout: Duration = Field(Duration("2m"), description="How long work waits for a polling agent.")
    lost_after: Duration = Field(Duration("10m"), description="Silence after which an attempt is lost.")


class PackageCache(Spec):
    """What a machine keeps of the packages that it has acquired."""

    keep_free: Percentage | None = Field(None, description="Share of the disk kept free.")
    packages: Annotated[int, Field(ge=1)] | None = Field(None, description="Packages kept.")
    versions: Annotated[int, Field(ge=1)] | None = Field(None, description="Versions of each kept.")


class MachinePolicySpec(Spec):
    """How machines are checked, cleaned up, updated and waited for."""

    default: bool = Field(False, description="Used by machines that name no policy; one per space.")
    health_check: HealthCheck = Field(HealthCheck.model_construct(), description="How and when machines are checked.")
    connectivity: Literal["expectedOnline", "mayBeOffline"] = Field(
        "expectedOnline", description="Is absence an error?"
    )
    cleanup: Annotated[
        Annotated[Literal["never"], Tag("word")] | Annotated[Cleanup, Tag("map")], Discriminator(_word_or_map)
    ] = Field("never", description="When an unavailable machine is removed.")
    update: AgentUpdates = Field(AgentUpdates.model_construct(), description="How the agent is kept up to date.")
    connection: Connection = Field(Connection.model_construct(), description="Patience with a machine.")
    package_cache: PackageCache = Field(
        PackageCache.model_construct(keep_free=Percentage("20%")), description="Packages kept on it."
    )


class Kubernetes(Spec):
    """A cluster that is deployed to."""

    url: Text = Field(description="The API server.")
    namespace: Text = Field("default", description="The namespace.")
    account: Annotated[Name, Ref("Account")] | None = Field(None, description="The account that logs in.")


class CloudRegion(Spec):
    """A region without a machine of its own."""

    provider: Text | None = Field(None, description="The cloud.")
    region: Text | None = Field(None, description="The region.")


class AzureWebApp(Spec):
    """An Azure web app."""

    resource_group: Text = Field(description="The resource group.")
    name: Text = Field(description="The web app.")
    slot: Text | None = Field(None, description="The slot.")
    account: Annotated[Name, Ref("Account")] = Field(description="The account that logs in.")


class TargetEndpoint(Spec):
    """How a deployment target is reached: exactly one."""

    listening: Listening | None = Field(None, description="The server dials the agent.")
    polling: Polling | None = Field(None, description="The agent dials the server.")
    ssh: Ssh | None = Field(None, description="Over SSH, without an agent.")
    kubernetes: Kubernetes | None = Field(None, description="A Kubernetes cluster.")
    cloud_region: CloudRegion | None = Field(None, description="A cloud region.")
    azure_web_app: AzureWebApp | None = Field(None, description="An Azure web app.")

    @model_validator(mode="after")
    def _one(self) -> "TargetEndpoint":
        _exactly_one(self, "an endpoint")
        return self


class Container(Spec):
    """The image a step runs in."""

    image: Text = Field(description="The image, with its tag or digest.")
    feed: Annotated[Name, Ref("PackageFeed")] | None = Field(None, description="The registry.")
    engine: Literal["auto", "docker", "podman"] = Field("auto", description="The program that runs it.")


class DeploymentTargetSpec(Spec):
    """A machine or service that software is deployed to."""

    environments: Annotated[tuple[Annotated[Name, Ref("Environment")], ...], Field(min_length=1)] = Field(
        description="The environments it belongs to."
    )
    tags: tuple[Text, ...] = Field((), description="Target tags (roles) that steps choose it by.")
    tenants: tuple[Annotated[Name, Ref("Tenant")], ...] = Field(
        (), description="The tenants it serves; absent, untenanted."
    )
    policy: Annotated[Name, Ref("MachinePolicy")] | None = Field(None, description="Its machine policy.")
    endpoint: TargetEndpoint = Field(description="How it is reached.")
    default_pool: PoolName | None = Field(None, description="The pool for steps on its behalf that name none.")
    container: Container | None = Field(None, description="The image that steps on its behalf run in.")


class ExecutionLocationSpec(Spec):
    """Where a step runs."""

    run_on: Literal["server", "workerPool", "targets"] = Field(
        "server", description="The server, a pool, or the targets."
    )
    pool: PoolName | None = Field(None, description="The pool by name.")
    pool_variable: Text | None = Field(None, description="The pool by a worker-pool variable.")
    on_behalf_of: tuple[Text, ...] = Field((), description="Target tags: once per matching target.")
    target_tags: tuple[Text, ...] = Field((), description="With runOn targets: which targets.")
    container: Container | None = Field(None, description="The image that the step runs in.")
    affinity: Literal["package", "task", "none"] = Field("package", description="What steps prefer one worker by.")
    lease_cap: Annotated[int, Field(ge=0)] = Field(0, description="Steps of one lease key on one worker; 0 is off.")
    requires: dict[Label, Requirement] = Field({}, description="Capabilities that the worker must have, and which.")

    @model_validator(mode="after")
    def _consistent(self) -> "ExecutionLocationSpec":
        if self.pool is not None and self.pool_variable is not None:
            raise PydanticCustomError("exactly-one", "a location names pool or poolVariable, not both")
        if self.run_on != "workerPool" and (self.pool or self.pool_variable):
            raise PydanticCustomError("bad-location", "pool and poolVariable need runOn: workerPool")
        if self.run_on == "targets" and not self.target_tags:
            raise PydanticCustomError("bad-location", "runOn: targets needs targetTags")
        if self.run_on != "targets" and self.target_tags:
            raise PydanticCustomError("bad-location", "targetTags needs runOn: targets; elsewhere write onBehalfOf")
        if self.run_on == "targets" and self.on_behalf_of:
            raise PydanticCustomError("bad-location", "onBehalfOf needs runOn: server or workerPool")
        return self
