"""`./gatehouse demo --check`: what it leaves, what it says when a step fails, and with what it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo import journey
from demo.portal import JourneyError
from gatehouse_cli.paths import REPO
from tests.journeys.portals import RunningPortal

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.xdist_group("stack")]


@pytest.fixture
def folder(portal: RunningPortal, tmp_path: Path) -> Path:
    """A data folder that knows the running portal and its people, as the launcher and an earlier run leave it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stack.json").write_text(json.dumps(portal.ctx.stack))
    (tmp_path / "demo.json").write_text(json.dumps({"accounts": portal.accounts, "ready": True, "told": True}))
    return tmp_path


def check(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo.journey", "--data", str(folder), "--check", *words]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=300, check=False)


def test_a_step_told_to_its_end_ends_with_0_and_no_demo_json_says_ready_before_the_last(portal: RunningPortal, folder: Path) -> None:
    before = portal.count("SELECT count(*) FROM usecases_usecase")
    done = check(folder, "--steps", "1")
    assert done.returncode == 0 and "FAILED" not in done.stderr, done.stderr
    assert f"1/{len(journey.STEPS)}  {journey.STEPS[0][0]}" in done.stdout and "is in proof of concept" in done.stdout
    assert "2/" not in done.stdout and "every step was read back from outside" in done.stdout
    assert portal.count("SELECT count(*) FROM usecases_usecase") == before + 1
    left = json.loads((folder / "demo.json").read_text())
    assert (left["ready"], left["told"], left["accounts"]) == (False, False, portal.accounts)
    assert (folder / "demo.json").stat().st_mode & 0o777 == 0o600


def test_a_portal_that_does_not_answer_as_it_should_ends_it_with_1_and_the_step_in_words(portal: RunningPortal, folder: Path) -> None:
    """The portal's own refusal, met by the real command: the person who writes the use case down may not any more."""
    accounts = [dict(account) for account in portal.accounts]
    engineer, auditor = portal.ctx.account("engineer"), portal.ctx.account("auditor")
    next(a for a in accounts if a["email"] == engineer["email"])["token"] = auditor["token"]
    (folder / "demo.json").write_text(json.dumps({"accounts": accounts, "ready": True, "told": True}))
    done = check(folder, "--steps", "1")
    assert done.returncode == 1
    assert done.stderr.lstrip().startswith("FAILED: ") and "403" in done.stderr
    assert "every step was read back" not in done.stdout
    assert json.loads((folder / "demo.json").read_text())["ready"] is False


def test_a_step_whose_claim_does_not_read_back_ends_it_with_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def not_so(_: object) -> str:
        raise JourneyError("read back, and it is not so")

    told = []
    steps = [("First", lambda _: "done"), ("Second", not_so), ("Third", lambda _: told.append(3) or "done")]
    monkeypatch.setattr(journey, "STEPS", steps)
    monkeypatch.setattr(sys, "argv", ["demo.journey", "--data", str(folder), "--check", "--steps", "3"])
    assert journey.main() == 1
    said = capsys.readouterr()
    assert said.err.strip() == "FAILED: read back, and it is not so" and not told
    assert "1/3  First" in said.out and "2/3  Second" in said.out and "3/3" not in said.out
    assert json.loads((folder / "demo.json").read_text())["ready"] is False


@pytest.mark.long
def test_the_whole_command_as_a_person_runs_it(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL") and not name.startswith("GATEHOUSE_")
    }
    command = [str(REPO / "gatehouse"), "demo", "--check", "--data", str(tmp_path / "data")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for number, (title, _) in enumerate(journey.STEPS, start=1):
        assert f"{number}/{len(journey.STEPS)}  {title}" in done.stdout
    assert "every step was read back from outside" in done.stdout and "FAILED" not in done.stderr
    left = json.loads((tmp_path / "data" / "demo.json").read_text())
    assert left["told"] is True and left["ready"] is False, "it has ended, and nothing answers any more"
    assert {a["role"] for a in left["accounts"]} >= {"ml_engineer", "auditor"} and left["endpoint"]["infer_url"].startswith(
        left["gateway_url"]
    )
