"""Lineage across the apps: dataset, run, version, deployment, predictions, as a graph and as the table behind it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse

from apps.core.actor import Actor
from apps.deployments.models import Deployment
from apps.monitoring import selectors as monitoring
from apps.registry.models import Dataset, ModelVersion
from apps.registry.selectors import datasets as reads

STEPS = ("dataset", "run", "version", "deployment", "predictions")
MOST_VERSIONS = 40
# Sizes of the drawing, in its own units.
WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 208, 54, 52, 14, 10


@dataclass(slots=True)
class Node:
    """One thing in the graph; x and y are the upper left corner of its box."""

    id: str
    kind: str
    label: str
    note: str = ""
    href: str = ""
    here: bool = False
    x: int = 0
    y: int = 0

    @property
    def short(self) -> str:
        """What fits into the box."""
        return self.label if len(self.label) <= 24 else f"{self.label[:23]}…"

    @property
    def short_note(self) -> str:
        """What fits below."""
        return self.note if len(self.note) <= 30 else f"{self.note[:29]}…"


@dataclass(slots=True)
class Graph:
    """Nodes by step and what leads to what; width and height are those of the drawing."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[tuple[str, str, str]] = field(default_factory=list)
    width: int = 0
    height: int = 0
    cut: bool = False

    def add(self, kind: str, key: Any, label: str, **more: Any) -> str:
        """A node, once; returns its id."""
        found = f"{kind}:{key}"
        self.nodes.setdefault(found, Node(found, kind, label, **more))
        return found

    def join(self, start: str, end: str, how: str) -> None:
        """An edge, once."""
        if (start, end, how) not in self.edges:
            self.edges.append((start, end, how))

    @property
    def steps(self) -> list[tuple[str, list[Node]]]:
        """(step, its nodes) for the steps that have any."""
        rows = [(kind, [n for n in self.nodes.values() if n.kind == kind]) for kind in STEPS]
        return [(kind, nodes) for kind, nodes in rows if nodes]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """(path of an SVG curve, words) of every edge."""
        out = []
        for start, end, how in self.edges:
            a, b = self.nodes[start], self.nodes[end]
            if a.x > b.x:
                a, b = b, a
            x1, y1, x2, y2 = a.x + WIDTH, a.y + HEIGHT // 2, b.x, b.y + HEIGHT // 2
            bend = max(20, (x2 - x1) // 2)
            out.append(
                (f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}", f"{self.nodes[start].label}, {how}, {self.nodes[end].label}")
            )
        return out

    @property
    def rows(self) -> list[tuple[Node, str, Node]]:
        """The table behind the drawing: from, how, to."""
        found = [(self.nodes[a], how, self.nodes[b]) for a, b, how in self.edges]
        return sorted(found, key=lambda row: STEPS.index(row[0].kind))

    def laid_out(self) -> "Graph":
        """The same with a place for every node: a column a step, each column centred."""
        steps = self.steps
        tallest = max((len(nodes) for _, nodes in steps), default=0)
        self.height = tallest * (HEIGHT + GAP_Y) - GAP_Y + 2 * EDGE if tallest else 0
        self.width = len(steps) * (WIDTH + GAP_X) - GAP_X + 2 * EDGE if steps else 0
        for column, (_, nodes) in enumerate(steps):
            top = (self.height - (len(nodes) * (HEIGHT + GAP_Y) - GAP_Y)) // 2
            for row, node in enumerate(nodes):
                node.x, node.y = EDGE + column * (WIDTH + GAP_X), top + row * (HEIGHT + GAP_Y)
        return self

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "nodes": [{"id": n.id, "kind": n.kind, "label": n.label, "note": n.note} for n in self.nodes.values()],
            "edges": [{"from": a, "to": b, "how": how} for a, b, how in self.edges],
            "cut": self.cut,
        }


def of_version(actor: Actor, version: ModelVersion) -> Graph:
    """Where a version comes from and where it went. Deployments are those of endpoints the actor may see."""
    graph = Graph()
    _version(graph, version, here=True)
    for each in version.inputs.select_related("dataset").order_by("context", "dataset__name"):
        _read(graph, each.dataset, version, each.context or "input")
    for edge in reads.edges_of(version):
        _read(graph, edge.dataset, version, f"{edge.direction}, reported by {edge.event.job_namespace}")
    _deployed(graph, actor, [version])
    return graph.laid_out()


def of_datasets(actor: Actor, datasets: list[Dataset], here: Dataset) -> Graph:
    """Where the versions of a dataset went, as far as the actor sees; at most 40 model versions, newest first."""
    graph = Graph()
    for each in datasets:
        _dataset(graph, each, here=each.id == here.id)
    found = reads.uses(actor, datasets)
    graph.cut = len(found) > MOST_VERSIONS
    shown = found[:MOST_VERSIONS]
    for use in shown:
        _version(graph, use.version)
        for each in use.datasets:
            _read(graph, each, use.version, ", ".join(use.contexts))
    _deployed(graph, actor, [u.version for u in shown])
    return graph.laid_out()


def _dataset(graph: Graph, dataset: Dataset, *, here: bool = False) -> str:
    rows = dataset.profile.get("num_rows")
    note = f"{rows:,} rows, {dataset.digest}" if isinstance(rows, int) else dataset.digest
    return graph.add("dataset", dataset.id, dataset.name, note=note, href=reverse("datasets:dataset", args=[dataset.id]), here=here)


def _version(graph: Graph, version: ModelVersion, *, here: bool = False) -> str:
    href = reverse("registry:version", args=[version.model.name, version.version])
    made = graph.add("version", version.id, version.label, note=version.status, href=href, here=here)
    if version.run_id:
        run = graph.add("run", version.run_id, version.run_name or version.run_id, note=version.run_id[:12])
        graph.join(run, made, "registered as")
    return made


def _read(graph: Graph, dataset: Dataset, version: ModelVersion, how: str) -> None:
    target = f"run:{version.run_id}" if version.run_id else f"version:{version.id}"
    graph.join(_dataset(graph, dataset), target, how)


def _deployed(graph: Graph, actor: Actor, versions: Iterable[ModelVersion]) -> None:
    """Deployments of the versions, and how many predictions of each are captured."""
    rows = (
        Deployment.objects.visible_to(actor)
        .filter(model_version__in=list(versions))
        .select_related("endpoint", "host")
        .order_by("-id")[:100]
    )
    counts = {e: monitoring.capture_counts(actor, e)["versions"] for e in {d.endpoint_id for d in rows}}
    for each in rows:
        href = reverse("deployments:endpoint", args=[each.endpoint.slug])
        note = each.role if each.desired == "running" else "stopped"
        made = graph.add("deployment", each.id, each.endpoint.name, note=f"{note}, {each.endpoint.environment}", href=href)
        graph.join(f"version:{each.model_version_id}", made, "deployed as")
        mine = [r for r in counts[each.endpoint_id] if r["deployment_id"] == str(each.id)]
        if total := sum(r["rows"] for r in mine):
            copies = sum(r["rows"] for r in mine if r["shadow"])
            told = f"{copies:,} of them copies" if copies else f"{sum(r['requests'] for r in mine):,} requests"
            where = reverse("monitoring:endpoint", args=[each.endpoint.slug])
            graph.join(made, graph.add("predictions", each.id, f"{total:,} predictions", note=told, href=where), "answered")
