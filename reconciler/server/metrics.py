"""Metrics in Prometheus' form: read from the engines' counts and states at the moment they are asked for."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest

from reconciler.model.following import Condition, ConditionType
from reconciler.schedule.fleet import BUILTIN
from reconciler.store import drains, following, tasks, worker_status
from reconciler.store.database import Transaction

if TYPE_CHECKING:
    from reconciler.server.controller.controller import Controller
    from reconciler.server.space_service import SpaceService

COUNTERS = {
    "sessions": "Sessions of agents that were opened.",
    "heartbeats": "Signs of life that agents sent.",
    "log_bytes": "Bytes of log that agents sent.",
    "handshakes": "TLS handshakes of callers that succeeded.",
    "failed_handshakes": "TLS handshakes of callers that failed.",
    "shed": "Callers that were dropped unfinished, because newer ones came.",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What of a state is told: unfinished tasks by state, workers by health, conditions, overdue drains."""

    tasks: Mapping[str, int] = field(default_factory=dict)
    workers: Mapping[str, int] = field(default_factory=dict)
    conditions: Mapping[ConditionType, Condition] = field(default_factory=dict)
    overdue: int = 0
    failed_since: float | None = None


def seen_in(tx: Transaction) -> Seen:
    """Read what is told of a state."""
    source = following.source(tx)
    return Seen(
        Counter(task.state.value for task in tasks.unfinished(tx)),
        Counter(each.health.value for name, each in worker_status.statuses(tx).items() if name != BUILTIN),
        following.conditions(tx),
        sum(drain.overdue_at is not None for drain in drains.drains(tx).values()),
        source.failed_since if source else None,
    )


class SpacesCollector:
    """Yields the metrics of one node, each with the label `space`; those of an engine only while it leads."""

    def __init__(self, spaces: "Sequence[SpaceService]", seen: Mapping[str, Seen]) -> None:
        self._spaces = spaces
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        leads = GaugeMetricFamily(
            "reconciler_leads", "1 where this node leads, 0 where it stands by.", labels=["space"]
        )
        for space in self._spaces:
            leads.add_metric([space.name], int(space.post.controller is not None))
        yield leads
        yield from self._of_agents()
        yield from self._of_commits()
        yield from self._of_states()
        yield self._of_retention()

    def _of_agents(self) -> Iterator[Metric]:
        for name, text in COUNTERS.items():
            counter = CounterMetricFamily(f"reconciler_agent_{name}", text, labels=["space"])
            for space, controller in self._leading():
                counter.add_metric([space], getattr(controller.running.counts, name))
            yield counter
        text = "Peers and messages that were refused."
        rejects = CounterMetricFamily("reconciler_agent_rejects", text, labels=["space", "code"])
        connected = GaugeMetricFamily("reconciler_agents_connected", "Agents that are connected.", labels=["space"])
        for space, controller in self._leading():
            for code, count in sorted(controller.running.counts.rejects.items()):
                rejects.add_metric([space, code], count)
            connected.add_metric([space], controller.running.roster.sessions)
        yield rejects
        yield connected

    def _of_commits(self) -> Iterator[Metric]:
        text = "Looks at commits, by how they ended."
        results = CounterMetricFamily("reconciler_reconciles", text, labels=["space", "outcome"])
        for space, controller in self._leading():
            for outcome, count in sorted(controller.results.items()):
                results.add_metric([space, outcome], count)
        yield results

    def _of_retention(self) -> Metric:
        text = "What retention has removed, by what it was."
        removed = CounterMetricFamily("reconciler_retention_removed", text, labels=["space", "what"])
        for space, controller in self._leading():
            for what, count in sorted(controller.running.counts.removed.items()):
                removed.add_metric([space, what], count)
        return removed

    def _of_states(self) -> Iterator[Metric]:
        unfinished = GaugeMetricFamily("reconciler_tasks", "Tasks that have not ended.", labels=["space", "state"])
        workers = GaugeMetricFamily(
            "reconciler_workers", "Workers as they were last found.", labels=["space", "health"]
        )
        conditions = GaugeMetricFamily(
            "reconciler_condition", "1 where a condition is true.", labels=["space", "type", "reason"]
        )
        overdue = GaugeMetricFamily("reconciler_drains_overdue", "Drains past their deadline.", labels=["space"])
        failed = GaugeMetricFamily(
            "reconciler_source_failed_since_timestamp_seconds", "When the source became unreadable, 0 if it is not.",
            labels=["space"],
        )  # fmt: skip
        for space, seen in self._seen.items():
            for state, count in sorted(seen.tasks.items()):
                unfinished.add_metric([space, state], count)
            for health, count in sorted(seen.workers.items()):
                workers.add_metric([space, health], count)
            for condition in seen.conditions.values():
                conditions.add_metric([space, condition.type.value, condition.reason], int(condition.status))
            overdue.add_metric([space], seen.overdue)
            failed.add_metric([space], seen.failed_since or 0.0)
        yield from (unfinished, workers, conditions, overdue, failed)

    def _leading(self) -> Iterator[tuple[str, "Controller"]]:
        for space in self._spaces:
            if space.post.controller is not None:
                yield space.name, space.post.controller


async def exposition(spaces: "Sequence[SpaceService]") -> bytes:
    """Return all metrics as text."""
    seen = {
        space.name: await space.post.controller.engine.store.read(seen_in)
        for space in spaces
        if space.post.controller is not None
    }
    registry = CollectorRegistry()
    registry.register(SpacesCollector(spaces, seen))
    return generate_latest(registry)
