"""Counters, gauges and histograms in the Prometheus text format, written by hand: three types suffice."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

Labels = tuple[str, ...]

LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _labels(names: Labels, values: Labels, extra: str = "") -> str:
    parts = [f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)]
    if extra:
        parts.append(extra)
    return "{" + ",".join(parts) + "}" if parts else ""


class Counter:
    """A number that only grows, per combination of labels."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        self.name, self.help_text, self.labels = name, help_text, labels
        self._values: dict[Labels, float] = {}
        if not labels:
            self._values[()] = 0.0

    def add(self, *values: str, by: float = 1.0) -> None:
        """Add `by` under these label values."""
        self._values[values] = self._values.get(values, 0.0) + by

    def lines(self) -> Iterator[str]:
        """Sample lines."""
        for values, number in self._values.items():
            yield f"{self.name}{_labels(self.labels, values)} {number!r}"


class Gauge(Counter):
    """A number that goes up and down."""

    kind = "gauge"

    def set(self, number: float, *values: str) -> None:
        """Set the value under these labels."""
        self._values[values] = number


class Histogram:
    """Seconds, sorted into cumulative buckets."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, labels: Labels) -> None:
        self.name, self.help_text, self.labels = name, help_text, labels
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, seconds: float, *values: str) -> None:
        """Count one observation."""
        counts = self._counts.get(values)
        if counts is None:
            counts = self._counts[values] = [0] * (len(LATENCY_BUCKETS_S) + 1)
            self._sums[values] = 0.0
        counts[bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        self._sums[values] += seconds

    def lines(self) -> Iterator[str]:
        """Bucket, sum and count lines."""
        for values, counts in self._counts.items():
            total = 0
            for bound, count in zip((*LATENCY_BUCKETS_S, float("inf")), counts, strict=True):
                total += count
                mark = "+Inf" if bound == float("inf") else f"{bound:g}"
                le = f'le="{mark}"'
                yield f"{self.name}_bucket{_labels(self.labels, values, le)} {total}"
            yield f"{self.name}_sum{_labels(self.labels, values)} {self._sums[values]!r}"
            yield f"{self.name}_count{_labels(self.labels, values)} {total}"


class Metrics:
    """Everything the gateway measures of itself."""

    def __init__(self) -> None:
        by_route = ("endpoint", "deployment", "status")
        name = "gatehouse_gateway_"
        self.requests = Counter(name + "requests_total", "Answers given.", by_route)
        self.shadows = Counter(name + "shadow_requests_total", "Copies sent to shadow routes.", by_route)
        self.shadows_dropped = Counter(
            name + "shadow_dropped_total", "Copies not sent: too many under way.", ("endpoint",)
        )
        self.latency = Histogram(name + "latency_seconds", "From request to answer.", ("endpoint",))
        self.engine = Histogram(name + "engine_seconds", "Time the engine took.", ("deployment",))
        self.retries = Counter(name + "retries_total", "Sent to another route, first refused.", ("endpoint",))
        self.captured = Counter(name + "captured_requests_total", "Lines written to the spool.")
        self.capture_errors = Counter(name + "capture_errors_total", "Lines the spool could not take.")
        self.spool_files = Gauge(name + "spool_files", "Sealed spool files not yet Parquet.")
        self.in_flight = Gauge(name + "in_flight", "Requests under way.")
        self.limiter_local = Gauge(name + "limiter_local", "1 while limits are kept without Redis.")
        self.snapshot_version = Gauge(name + "snapshot_version", "Version of the routing snapshot in use.")
        self.snapshot_age = Gauge(name + "snapshot_contact_age_seconds", "Since the portal confirmed it.")
        self.not_open = Counter(
            name + "phase_not_open_total", "Turned away until a rollout phase opens.", ("endpoint", "phase")
        )
        self.snapshots_refused = Counter(
            name + "snapshots_refused_total", "Snapshots not accepted.", ("reason",)
        )

    def render(self) -> bytes:
        """The whole exposition."""
        lines: list[str] = []
        for metric in vars(self).values():
            lines.append(f"# HELP {metric.name} {metric.help_text}")
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            lines.extend(metric.lines())
        return ("\n".join(lines) + "\n").encode()
