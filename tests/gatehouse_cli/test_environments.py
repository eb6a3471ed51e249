import json
from pathlib import Path

import pytest

from gatehouse_cli import environments
from gatehouse_cli.environments import Environment
from gatehouse_cli.say import Refusal


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment that is complete: interpreter, lock, stamp."""
    monkeypatch.setattr(environments, "REPO", tmp_path)
    (tmp_path / "lock.txt").write_text("thing==1\n")
    made = Environment(".venv-x", ("lock.txt",))
    (made.folder / "lib" / "python3.11").mkdir(parents=True)
    made.python.parent.mkdir()
    (tmp_path / "python3.11").write_text("")
    made.python.symlink_to(tmp_path / "python3.11")
    stamp = {"python": "python3.11", "locks": made.wanted()}
    (made.folder / environments.STAMP).write_text(json.dumps(stamp))
    return made


def test_an_environment_with_its_stamp_is_complete(environment: Environment):
    assert environments.is_complete(environment)


def test_one_that_was_interrupted_is_not(environment: Environment):
    (environment.folder / environments.STAMP).unlink()
    assert environments.stamp_of(environment) is None


def test_a_changed_lock_asks_for_an_update_but_not_for_a_new_start(environment: Environment, tmp_path: Path):
    (tmp_path / "lock.txt").write_text("thing==2\n")
    assert not environments.is_complete(environment)
    assert environments.stamp_of(environment) is not None


def test_one_whose_interpreter_was_removed_is_made_again(environment: Environment, tmp_path: Path):
    (tmp_path / "python3.11").unlink()
    assert environments.stamp_of(environment) is None


def test_one_whose_interpreter_became_another_version_is_made_again(environment: Environment, tmp_path: Path):
    environment.python.unlink()
    (tmp_path / "python3.12").write_text("")
    environment.python.symlink_to(tmp_path / "python3.12")
    assert environments.stamp_of(environment) is None


def test_the_tests_environment_serves_the_portal_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: Environment):
    (tmp_path / "more.txt").write_text("other==1\n")
    with_tests = Environment(".venv-x", ("lock.txt", "more.txt"))
    (environment.folder / environments.STAMP).write_text(json.dumps({"python": "python3.11", "locks": with_tests.wanted()}))
    assert environments.is_complete(environment)
    assert environments.is_complete(with_tests)


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("error: No space left on device (os error 28)", "disk is full"),
        ("Could not resolve host: failed to lookup DNS", "HTTPS_PROXY"),
        ("Hash mismatch for `thing==1`", "public index"),
        ("Error: ensurepip is not available", "python3-venv"),
    ],
)
def test_a_failed_installation_says_what_to_do(output: str, remedy: str):
    with pytest.raises(Refusal, match=remedy):
        environments._run(["sh", "-c", f"echo '{output}' >&2; exit 1"], "installing")


def test_every_lock_is_hashed_and_pinned():
    for environment in environments.environments(tests=True):
        for lock in environment.locks:
            text = (environments.REPO / lock).read_text()
            packages = [line for line in text.splitlines() if line and line[0].isalnum()]
            assert packages, lock
            assert all("==" in line for line in packages), lock
            assert text.count("--hash=sha256:") >= len(packages), lock
            assert "evidently" not in text.lower(), lock
