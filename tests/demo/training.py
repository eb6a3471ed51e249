"""Runs the story's modules in the environment that holds scikit-learn and statsmodels."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRAINING_PYTHON = Path(os.environ.get("GATEHOUSE_ENGINE_PYTHON_KSERVE", ROOT / ".venv-kserve" / "bin" / "python"))


def run_module(module: str, *arguments: str, mlflow_dir: Path) -> str:
    """Run `python -m module` where scikit-learn and statsmodels live; the MLflow store is a file under mlflow_dir."""
    if not TRAINING_PYTHON.exists():
        pytest.fail(f"{TRAINING_PYTHON} is missing: run ./gatehouse test once, which makes it")
    mlflow_dir.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(TRAINING_PYTHON), "-m", module, *arguments],
        cwd=mlflow_dir,
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(mlflow_dir),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MLFLOW_TRACKING_URI": f"sqlite:///{mlflow_dir}/mlflow.db",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return done.stdout
