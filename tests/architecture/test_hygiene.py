"""The checks a careful reader would run, run for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]}


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_ruff_is_content():
    result = run(str(BIN / "ruff"), "check", "--no-cache", ".")
    assert result.returncode == 0, result.stdout[-4000:]


@pytest.mark.long
def test_types_hold():
    result = run("bash", "-c", HOOKS["mypy"]["entry"])
    assert HOOKS["mypy"]["stages"] == ["pre-push"]
    assert result.returncode == 0, result.stdout[-6000:]


def test_templates_are_well_formed():
    result = run(str(BIN / "djlint"), "templates", "--lint", "--quiet")
    assert result.returncode == 0, result.stdout[-4000:]


def test_no_migration_is_missing():
    result = run("bash", "-c", HOOKS["migrations"]["entry"])
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


def test_the_deployment_check_passes_behind_https():
    result = run(
        str(BIN / "python"), "manage.py", "check", "--deploy", "--fail-level", "WARNING",
        GATEHOUSE_BASE_URL="https://gatehouse.example.org", GATEHOUSE_SECRET_KEY="k" * 25 + "Zq9-_x" * 8,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
