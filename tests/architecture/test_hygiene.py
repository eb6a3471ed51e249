"""The checks a careful reader would run, run for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_ruff_is_content():
    result = run(str(BIN / "ruff"), "check", "--no-cache", ".")
    assert result.returncode == 0, result.stdout[-4000:]


@pytest.mark.long
def test_types_hold():
    result = run(str(BIN / "mypy"), "apps", "portal", "celery_worker/orders.py", "celery_worker/control", "celery_worker/agent", "gateway", "verifier", "gatehouse_cli")
    assert result.returncode == 0, result.stdout[-6000:]


def test_templates_are_well_formed():
    result = run(str(BIN / "djlint"), "templates", "--lint", "--quiet")
    assert result.returncode == 0, result.stdout[-4000:]


def test_no_migration_is_missing():
    result = run(str(BIN / "python"), "manage.py", "makemigrations", "--check", "--dry-run")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


def test_the_deployment_check_passes_behind_https():
    result = run(
        str(BIN / "python"), "manage.py", "check", "--deploy", "--fail-level", "WARNING",
        GATEHOUSE_BASE_URL="https://gatehouse.example.org", GATEHOUSE_SECRET_KEY="k" * 25 + "Zq9-_x" * 8,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
