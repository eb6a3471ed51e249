"""One real training run for all of this folder's tests, shared by parallel workers."""

import fcntl
import json
from typing import Any

import pytest

from tests.demo.training import run_module


@pytest.fixture(scope="session")
def story_run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Dumped windows, trained versions and figures: `folder`, `versions` (two dicts), `figures`."""
    parallel = hasattr(request.config, "workerinput")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if parallel else base) / "story"
    folder.mkdir(exist_ok=True)
    result = folder / "result.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            run_module("demo.data", "--out", str(folder / "windows"), mlflow_dir=folder)
            trained = run_module("demo.train", mlflow_dir=folder)
            figures = run_module("demo.measure", mlflow_dir=folder)
            lines = [json.loads(line) for line in trained.splitlines() if line.startswith("{")]
            result.write_text(json.dumps({"versions": lines, "figures": json.loads(figures)}))
    return {"folder": folder, **json.loads(result.read_text())}
