import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gatehouse_cli import doctor, suite
from gatehouse_cli.paths import REPO, DataDir
from gatehouse_cli.stack import Stack, StackError


def launch(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GATEHOUSE_PYTHON": sys.executable, **variables}
    return subprocess.run([str(REPO / "gatehouse"), *words], env=env, capture_output=True, text=True, check=False, cwd="/")


def fake(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_another_system_is_refused_before_anything_is_made(tmp_path: Path):
    fake(tmp_path, "uname", '[ "$1" = -m ] && echo arm64 || { [ "$1" = -s ] && echo Darwin || echo "Darwin arm64"; }')
    done = launch("demo", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 2
    assert "Darwin arm64" in done.stderr


def test_a_python_that_is_too_old_is_refused_by_name(tmp_path: Path):
    fake(tmp_path, "python3.9", "exit 1")
    done = launch("demo", GATEHOUSE_PYTHON=str(tmp_path / "python3.9"))
    assert done.returncode == 2
    assert "python3.9, which is not a Python 3.11, 3.12 or 3.13" in done.stderr


def test_an_unknown_command_is_refused_with_where_to_look():
    done = launch("deplyo")
    assert done.returncode == 2
    assert "'deplyo'" in done.stderr


@pytest.mark.parametrize("port", ["0", "http", "70000"])
def test_a_port_that_is_none_is_refused(port: str):
    done = launch("up", "--port", port)
    assert done.returncode == 2
    assert "is no port" in done.stderr


@pytest.mark.parametrize(
    ("given", "told", "shortened"),
    [
        ([], ["-n", "2", "--dist", "loadgroup", "-m", "not long"], True),
        (["-n0", "tests/kpis"], ["-m", "not long", "-n0", "tests/kpis"], True),
        (["-k", "gate", "--maxfail=1"], ["-n", "2", "--dist", "loadgroup", "-m", "not long", "-k", "gate", "--maxfail=1"], True),
        (["--all", "--cov"], ["-n", "2", "--dist", "loadgroup", "--cov"], False),
        (["-m", "long"], ["-n", "2", "--dist", "loadgroup", "-m", "long"], False),
        (["-n0", "tests/faults/test_to_the_end.py::test_it"], ["-n0", "tests/faults/test_to_the_end.py::test_it"], False),
    ],
)
def test_long_tests_run_when_they_are_asked_for(given: list[str], told: list[str], shortened: bool):
    assert suite.pytest_words(given) == (told, shortened)


def test_stopping_where_nothing_runs_is_no_error(tmp_path: Path):
    done = launch("down", "--data", str(tmp_path / "none"))
    assert done.returncode == 0
    assert "nothing of Gatehouse runs" in done.stdout


def test_the_doctor_names_an_open_secret_and_mends_it(tmp_path: Path):
    data = DataDir(tmp_path / "portal")
    data.make()
    data.env_file.write_text("{}")
    data.env_file.chmod(0o644)
    findings = {finding.subject: finding for finding in doctor.examine(data, with_packages=False)}
    assert findings["permissions"].state == doctor.WRONG
    assert "env.json" in findings["permissions"].found
    doctor.mend(data)
    findings = {finding.subject: finding for finding in doctor.examine(data, with_packages=False)}
    assert findings["permissions"].state == doctor.OK


def test_the_doctor_speaks_json_for_scripts(tmp_path: Path):
    done = launch("doctor", "--json", "--data", str(tmp_path / "none"))
    assert {row["subject"] for row in json.loads(done.stdout)} >= {"platform", "python", ".venv", "data folder", "processes"}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("  Applying accounts.0002... ", "older than the code"),
        ("Traceback\ndjango.db.utils.OperationalError: No space left on device", "cannot be looked at: .*No space left"),
    ],
)
def test_the_doctor_tells_an_old_database_from_one_that_cannot_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, found: str
):
    def fail(*words: str, **options: str) -> str:
        raise StackError(f"manage.py migrate failed:\n{said}")

    stack = Stack(tmp_path / "portal")
    monkeypatch.setattr(stack, "manage", fail)
    (finding,) = doctor._migrations(stack)
    assert finding.state == doctor.WRONG
    assert re.search(found, finding.found)


def test_the_doctor_shows_tables_and_changes_that_no_event_tells_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stack = Stack(tmp_path / "portal")
    monkeypatch.setattr("gatehouse_cli.stack.venv_bin", lambda *words: tmp_path / "python")
    monkeypatch.setattr(stack, "env", lambda *words: {"PATH": os.environ["PATH"]})

    def say(code: int, *lines: str) -> doctor.Finding:
        text = "".join(f"{line}\n" for line in lines)
        (tmp_path / "said").write_text(text)
        (tmp_path / "python").write_text(f"#!/bin/sh\ncat '{tmp_path / 'said'}'\nexit {code}\n")
        (tmp_path / "python").chmod(0o700)
        (finding,) = doctor._history(stack)
        assert finding.subject == "row history"
        return finding

    changes = [f"UPDATE of kpis_kpi {n}" for n in range(40)]
    finding = say(1, json.dumps({"tables": ["kpis_kpi is not watched"], "untold": changes, "watched": 65}))
    assert finding.state == doctor.WRONG and "check_history" in finding.remedy
    told = [f"no event tells of: {change}" for change in changes[:2]]
    assert finding.found == "; ".join(["kpis_kpi is not watched", *told, "38 more"])
    finding = say(0, json.dumps({"tables": [], "untold": [], "watched": 66}))
    assert (finding.state, finding.found) == (doctor.OK, "66 tables are watched; an event tells of every change")
    finding = say(1, "Traceback", "OperationalError: No space left on device")
    assert (finding.state, finding.found) == (doctor.WRONG, "cannot be looked at: OperationalError: No space left on device")
