"""Metrics in Prometheus' form: read from the engine's counts at the moment they are asked for."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    from reconciler.server.following import Follower

COUNTERS = {
    "sessions": "Sessions of agents that were opened.",
    "heartbeats": "Signs of life that agents sent.",
    "log_bytes": "Bytes of log that agents sent.",
    "handshakes": "TLS handshakes of callers that succeeded.",
    "failed_handshakes": "TLS handshakes of callers that failed.",
    "shed": "Callers that were dropped unfinished, because newer ones came.",
}


class EngineCollector:
    """Yields the metrics of one engine."""

    def __init__(self, follower: "Follower") -> None:
        self._follower = follower

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        running = self._follower.running
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"reconciler_agent_{name}", text, value=getattr(running.counts, name))
        rejects = CounterMetricFamily(
            "reconciler_agent_rejects", "Peers and messages that were refused.", labels=["code"]
        )
        for code, count in sorted(running.counts.rejects.items()):
            rejects.add_metric([code], count)
        yield rejects
        yield GaugeMetricFamily(
            "reconciler_agents_connected", "Agents that are connected.", value=running.roster.sessions
        )
        results = CounterMetricFamily(
            "reconciler_reconciles", "Looks at commits, by how they ended.", labels=["outcome"]
        )
        for outcome, count in sorted(self._follower.results.items()):
            results.add_metric([outcome], count)
        yield results


def exposition(follower: "Follower") -> bytes:
    """Return all metrics as text."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(follower))
    return generate_latest(registry)
