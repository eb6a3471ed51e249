"""With recording broken on purpose nothing changes: the suite's own tests of doors and services are run again without a trail to write to."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.test_doors import DOORS, FORMS

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    "accounts", "accounts_web", "approvals", "approvals_web", "control", "decisions", "deployments", "deployments_web", "kpis", "loadtests",
    "loadtests_web", "monitoring", "monitoring_web", "notices", "outbox", "registry", "registry_web", "rest", "trail_web", "usecases",
)  # fmt: skip
# Change no governed row: they compute, or hand on to a worker.
NOTHING = {"check_policy", "request_scan", "request_download", "export_response", "redeliver"}


@pytest.fixture(scope="module")
def undone(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of our functions through which the refusal of the trail came, with everything they had changed undone."""
    told = tmp_path_factory.mktemp("broken") / "undone"
    environment = {
        **os.environ, "GATEHOUSE_TESTS_BREAK_AUDIT": str(told), "GATEHOUSE_TEST_DB": f"{os.environ.get('GATEHOUSE_TEST_DB', 'test')}_broken_{os.getpid()}",
    }  # fmt: skip
    words = [
        "-m",
        "pytest",
        "-q",
        "-n2",
        "--dist",
        "loadgroup",
        "-p",
        "no:cacheprovider",
        "-m",
        "not browser and not stack and not faults",
        "--no-header",
        "-rE",
    ]
    done = subprocess.run(
        [sys.executable, *words, *(f"tests/{folder}" for folder in FOLDERS)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    changed = re.findall(r"AssertionError: (.* changed governed rows and recorded no event: .*)", done.stdout)
    assert not changed, "\n".join(sorted(set(changed)))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return {name for file in told.parent.glob("undone.*") for name in Path(file).read_text().split()}


@pytest.mark.long
def test_every_page_that_changes_something_was_tried_and_changed_nothing(undone):
    services = {service for _, service in DOORS.values()} | {service for forms in FORMS.values() for _, service in forms.values()}
    names = {name.rpartition(".")[2] for name in undone}
    assert sorted(services - NOTHING - names) == []


@pytest.mark.long
def test_every_app_that_records_events_was_tried(undone):
    tried = {name.split(".")[1] for name in undone if name.startswith("apps.")}
    assert tried >= {
        "accounts",
        "approvals",
        "decisions",
        "deployments",
        "kpis",
        "loadtests",
        "monitoring",
        "notices",
        "registry",
        "usecases",
    }
    assert any(name.startswith("celery_worker.control.tasks.") for name in undone)
