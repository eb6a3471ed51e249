"""The named points at which a test may kill a process: off unless asked for, and only where and as often as asked."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from celery_worker import faults
from gatehouse_cli.paths import REPO

REACH = "import sys; from celery_worker import faults; faults.reach(*sys.argv[1:]); print('alive')"


def reach(*words: str, file: Path | None) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], **({faults.VARIABLE: str(file)} if file else {})}
    return subprocess.run([sys.executable, "-c", REACH, *words], cwd=REPO, env=env, capture_output=True, text=True, check=False)


def test_without_the_variable_or_the_file_nothing_happens(tmp_path: Path) -> None:
    (tmp_path / "point").write_text("relay.sent")
    assert reach("relay.sent", file=None).stdout == "alive\n"
    assert reach("relay.sent", file=tmp_path / "absent").stdout == "alive\n"


@pytest.mark.parametrize("wanted", ["relay.sent", "relay.sent registry.sync"])
def test_whoever_reaches_the_point_dies_at_once_and_only_once(tmp_path: Path, wanted: str) -> None:
    file = tmp_path / "point"
    file.write_text(wanted)
    died = reach("relay.sent", "registry.sync", file=file)
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, "")
    assert not file.exists()
    assert reach("relay.sent", "registry.sync", file=file).stdout == "alive\n"


@pytest.mark.parametrize("wanted", ["relay.claimed", "relay.sent registry.alias", ""])
def test_another_point_or_another_matter_is_passed_by(tmp_path: Path, wanted: str) -> None:
    file = tmp_path / "point"
    file.write_text(wanted)
    assert reach("relay.sent", "registry.sync", file=file).stdout == "alive\n"
    assert file.exists()


def test_every_named_point_is_reached_in_the_code_and_none_without_a_name() -> None:
    sources = [path.read_text() for folder in ("celery_worker", "portal") for path in (REPO / folder).rglob("*.py")]
    reached = {point for source in sources for point in re.findall(r"""faults\.reach\(\s*["']([a-z_.]+)["']""", source)}
    assert reached == set(faults.POINTS)
