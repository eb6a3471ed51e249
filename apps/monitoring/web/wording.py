"""What monitors found, in plain words. Pure: rows and dicts in, sentences out."""

import re
from datetime import datetime
from typing import Any

from apps.core.templatetags.gatehouse import concise, utc
from apps.monitoring.models import Incident, Monitor, MonitorWindow

STATES = {"quiet": "quiet", "too_few": "too few rows", "drift": "drift", "worse": "worse"}
KINDS = {
    "drift": ("Inputs", "Do callers still send what the model was trained on?"),
    "cost": ("Cost of decisions", "Does the version that answers cost more than the one before it?"),
    "latency": ("Answer time", "Do 99 of 100 answers come within the time that is asked?"),
}
METRICS = {
    "cost_per_1k": "cost per 1,000 decisions",
    "recall": "events found (recall)",
    "precision": "warnings that were right (precision)",
    "positive_share": "share of positive answers",
    "accuracy": "right answers (accuracy)",
    "latency_p99_ms": "answer time, 99th percentile",
    "latency_mean_ms": "answer time, mean",
}


def money(value: float | None, currency: str) -> str:
    """An amount: `4,085 USD`; a dash when there is none."""
    return "–" if value is None else f"{concise(value)} {currency}"


def question(monitor: Monitor, required_ms: float | None) -> str:
    """What a monitor asks, with its own bound; for answer times also what the use case demands, where that is another figure."""
    if monitor.kind != "latency":
        return KINDS[monitor.kind][1]
    own = monitor.config.get("p99_ms") or 0
    bound = own or required_ms
    if not bound:
        return "How fast do answers come? No bound is set, here or in the use case's demands, so nothing is judged slow."
    if own and required_ms and own != required_ms:
        return f"Do 99 of 100 answers come within {concise(own)} ms? The use case demands {concise(required_ms)} ms."
    return f"Do 99 of 100 answers come within {concise(bound)} ms{'' if own and not required_ms else ', as the use case demands'}?"


def apart(comparison: dict[str, Any], currency: str) -> tuple[str, str]:
    """(`4,085 USD more`, `1,726 to 6,444`): how far the new version's cost is from the old one's, and its interval."""
    low, high, middle = comparison["low_per_1k"], comparison["high_per_1k"], comparison["difference_per_1k"]
    if middle is None or low is None or high is None:
        return "–", "no interval yet"
    ends = sorted((abs(low), abs(high)))
    around = f"{concise(ends[0])} to {concise(ends[1])}" if low * high > 0 else f"{_more(low)} to {_more(high)}"
    return f"{money(abs(middle), currency)} {_way(middle)}", around


def interval(comparison: dict[str, Any], currency: str) -> str:
    """The difference of two versions with its interval, and who is dearer."""
    amount, around = apart(comparison, currency)
    return around if amount == "–" else f"{amount} ({around})"


def _way(amount: float) -> str:
    return "less" if amount < 0 else "more"


def _more(amount: float) -> str:
    return f"{concise(abs(amount))} {_way(amount)}"


def found(window: MonitorWindow, *, currency: str) -> str:
    """What a window found, in a few words for a ledger."""
    said = window.statistics
    if window.monitor.kind == "drift" and "features" in said:
        return _drift(said)
    if window.monitor.kind == "latency" and said.get("p99_ms") is not None:
        asked = f", bound {concise(said['target_ms'])} ms" if said.get("target_ms") else ", no bound"
        return f"99 of 100 answers within {concise(said['p99_ms'])} ms{asked}"
    if window.monitor.kind == "cost" and said.get("versions"):
        return _cost(said, currency)
    return f"{window.n:,} rows; {window.monitor.config['min_rows']:,} are needed to judge"


def _drift(said: dict[str, Any]) -> str:
    worst = said["worst"]
    top = f"most: {worst} {said['features'][worst]['psi']:.2f}" if worst else "no feature"
    count, of = len(said["drifted"]), len(said["features"])
    return f"{count or 'none'} of {of} features drifted; {top}"


def _cost(said: dict[str, Any], currency: str) -> str:
    comparison = said.get("comparison")
    if comparison and comparison["pairs"]:
        pair = said["pair"]
        return f"{pair['new_version']} costs {interval(comparison, currency)} per 1,000 than {pair['old_version']}"
    costs = (f"{label} {money(v.get('cost_per_1k'), currency)}" for label, v in said["versions"].items())
    return f"per 1,000 decisions: {', '.join(costs)}"


def facts(incident: Incident, *, currency: str) -> list[tuple[str, str]]:
    """An incident's numbers as (what, figure), in the order in which a person asks."""
    n = incident.numbers
    if "drifted" in n:
        rows = [(name, f"{v['psi']:.2f}, bound {v['bound']:.2f}") for name, v in n["drifted"].items()]
        return [*rows, ("rows compared", f"{n['n']:,}")]
    if "difference_per_1k" in n:
        rows = [
            ("more per 1,000 decisions", money(n["difference_per_1k"], currency)),
            (f"{n['confidence']:.0%} interval", f"{money(n['low_per_1k'], currency)} to {money(n['high_per_1k'], currency)}"),
            ("stated bound", money(n["bound_per_1k"], currency)),
            ("rows both versions answered", f"{n['pairs']:,}"),
        ]
        return rows
    if "p99_ms" in n:
        asked = [("bound", f"{concise(n['target_ms'])} ms")] if n.get("target_ms") else []
        return [("99 of 100 answers within", f"{concise(n['p99_ms'])} ms"), *asked, ("requests", f"{n['n']:,}")]
    return [(str(name).replace("_", " "), concise(v)) for name, v in n.items() if isinstance(v, int | float) and not isinstance(v, bool)]


def answer(*, watched: int, open_incidents: list[Incident], judged: list[MonitorWindow]) -> tuple[str, str]:
    """The page's first sentence: (the deciding part, what follows it)."""
    if open_incidents:
        count = len(open_incidents)
        head = f"{count} incidents are open." if count > 1 else f"An incident is open: {_lower(open_incidents[0].title)}."
        held = sorted({str(i.deployment) for i in open_incidents if i.hold_id and i.deployment})
        if not held:
            return head, "No decision is on hold for it." if count == 1 else "No decision is on hold for them."
        verb = "is" if len(held) == 1 else "are"
        return head, f"The decision for {' and '.join(held)} {verb} on hold until they are closed." if count > 1 else (
            f"The decision for {' and '.join(held)} {verb} on hold until it is closed."
        )
    if not watched:
        return "Nobody watches this endpoint yet.", "Its traffic is captured; a monitor says whether it is still what was approved."
    if not judged:
        return "Nothing was judged yet.", "The monitors wait until enough rows have come."
    if loud := [w for w in judged if w.state != MonitorWindow.State.QUIET]:
        names = " and ".join(f"“{w.monitor.name}” found {STATES[w.state]}" for w in loud)
        return "No incident is open,", f"but in its last window {names}. Look whether what was done about it helps."
    rows = max(w.n for w in judged)
    return (
        "All quiet.",
        f"{watched} monitor{'' if watched == 1 else 's'} watch{'es' if watched == 1 else ''}; the largest window had {rows:,} rows.",
    )


def readable(text: str) -> str:
    """The text with its moments as people write them."""
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)", lambda m: utc(datetime.fromisoformat(m[0])), text)


def sentence(words: str) -> str:
    """Words as a sentence: capital first, full stop last."""
    return f"{words[:1].upper()}{words[1:]}."


def _lower(title: str) -> str:
    """A title inside a sentence: its first letter small, unless it is a name."""
    head = title.split(" ", 1)[0]
    return title[:1].lower() + title[1:] if head.istitle() else title
