"""Versions made straight in the tables, for tests that need no MLflow."""

import hashlib
from typing import Any

from apps.core.clock import now
from apps.registry.models import Dataset, ModelVersion, RegisteredModel, RunInput


def make_version(model: str = "care-outreach", number: int = 1, **more: Any) -> ModelVersion:
    """A ready version with figures, requirements, and a training and a validation dataset."""
    owner, _ = RegisteredModel.objects.get_or_create(name=model)
    digest = "sha256:" + hashlib.sha256(f"{model}/{number}".encode()).hexdigest()
    given: dict[str, Any] = {
        "status": "ready", "artifact_digest": digest, "artifact_manifest": {"files": {"MLmodel": "0" * 64}}, "run_id": f"{number:032x}", "run_name": f"try {number}",
        "metrics": {"recall": 0.7 + number / 100}, "params": {"depth": str(number), "C": "1.0"}, "requirements": f"numpy==2.{number}.0\nscikit-learn==1.9.0\n",
        "signature": {"inputs": [{"name": "age", "type": "double"}], "outputs": [{"type": "long"}]}, "registered_at": now(), "synced_at": now(),
        "flavor": "sklearn", "flavors": ["sklearn"], "author": "Elena Engineer",
    }  # fmt: skip
    row = ModelVersion.objects.create(model=owner, version=number, **{**given, **more})
    for context in ("training", "validation"):
        dataset, _ = Dataset.objects.get_or_create(
            name=f"visits-{context}", digest=f"d{context[:4]}", defaults={"profile": {"num_rows": 1200}, "source_type": "code"}
        )
        RunInput.objects.create(version=row, dataset=dataset, context=context)
    return row
