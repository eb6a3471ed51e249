"""What use cases can say when one is to end: what comes after it, and what becomes of its data."""

from typing import Any

from apps.core.canonical import digest_of
from apps.core.evidence import CheckResult, EvidenceSubject, failed, missing, passed
from apps.registry.models import Dataset, GovernedDataset
from apps.usecases import selectors
from apps.usecases.models import UseCase


def successor(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """A successor is in production; where none is named, the policy may leave it to people to say which manual process takes over."""
    usecase = selectors.system_usecase(subject.usecase_id)
    rows = list(UseCase.objects.filter(predecessor_id=usecase.id).order_by("created_at"))
    more: dict[str, Any] = {
        "asked": "a successor in production" + (", or a manual process that people attest" if parameters["manual"] else ""),
        "source": f"/usecases/{(rows[-1] if rows else usecase).slug}/",
        "source_digest": digest_of([[str(r.id), r.stage] for r in rows]),
    }
    if not rows:
        if parameters["manual"]:
            return passed("no successor is named; people attest the manual process", **more)
        return missing("Name what comes after: the successor of a use case is begun by the outcome “rebuild” of a gate.", **more)
    live = [r for r in rows if r.stage == "production"]
    if live:
        return passed(f"{live[-1].name}, in production since {live[-1].stage_since:%Y-%m-%d}", **more)
    waiting = [r for r in rows if r.stage not in ("stopped", "retired")]
    found = "; ".join(f"{r.name} is at {r.stage.replace('_', ' ')}" for r in rows)
    if not waiting and parameters["manual"]:
        return passed(f"{found}; people attest the manual process", **more)
    return failed(found, "Bring the successor into production first, or stop it and say which manual process takes over.", **more)


def retention_set(subject: EvidenceSubject, parameters: dict[str, Any]) -> CheckResult:
    """Every dataset that a version of the use case's models read says how long it is kept."""
    usecase = selectors.system_usecase(subject.usecase_id)
    names = sorted(set(Dataset.objects.filter(uses__version__model__used_by__usecase=usecase).values_list("name", flat=True)))
    kept = dict(GovernedDataset.objects.filter(name__in=names).exclude(retention="").values_list("name", "retention"))
    more: dict[str, Any] = {
        "asked": "how long each dataset of its models is kept", "source": "/datasets/",
        "source_digest": digest_of({name: kept.get(name, "") for name in names}), "figure": float(len(kept)), "threshold": float(len(names)),
    }  # fmt: skip
    if not names:
        if not selectors.model_names(usecase.id):
            return passed("it uses no model, so it has no dataset here", **more)
        return missing(
            "No version of its models names a dataset. Send its lineage (mlflow.log_input, OpenLineage), or have this waived and say why.", **more
        )
    without = [name for name in names if name not in kept]
    found = f"{len(kept)} of {len(names)} datasets"
    if without:
        listed = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
        return failed(found, f"Say on the dataset's page how long it is kept: {listed}.", **more)
    return passed(found, **more)
