"""A server is taken over whole although the import is killed in the middle: `bench/import_mlflow.py`, small."""

import os
import subprocess
import sys

import pytest

from gatehouse_cli.paths import REPO

pytestmark = pytest.mark.long


def test_a_server_is_taken_over_exactly_though_the_import_was_killed():
    if not os.environ.get("GATEHOUSE_OWNER_DATABASE_URL"):
        pytest.skip("GATEHOUSE_OWNER_DATABASE_URL is not set; ./gatehouse test sets it")
    words = [sys.executable, str(REPO / "bench/import_mlflow.py"), "--models", "10", "--every", "5", "--kill-at", "0.3", "--workers", "2"]
    done = subprocess.run(words, cwd=REPO, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "killed with" in done.stderr and "12 versions" in done.stdout and "WRONG" not in done.stdout
