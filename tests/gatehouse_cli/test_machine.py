import os
from pathlib import Path

import pytest

from gatehouse_cli import machine
from gatehouse_cli.say import Refusal


@pytest.mark.parametrize(
    ("system", "processor", "libc", "named"),
    [
        ("Darwin", "arm64", "", "Darwin arm64"),
        ("Linux", "aarch64", "glibc 2.36", "Linux aarch64"),
        ("Linux", "x86_64", "glibc 2.17", "glibc 2.17"),
        ("Linux", "x86_64", " ", "glibc 2.28"),
    ],
)
def test_another_platform_is_refused_by_name(system: str, processor: str, libc: str, named: str):
    with pytest.raises(Refusal, match=named):
        machine.check_platform(system, processor, libc)


def test_this_platform_is_accepted():
    machine.check_platform()


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_is_refused_with_the_way_to_name_one(version: tuple[int, int]):
    with pytest.raises(Refusal, match=rf"this is {version[0]}\.{version[1]}.*GATEHOUSE_PYTHON"):
        machine.check_python(version)


def test_a_python_without_ensurepip_is_refused_with_the_package_to_install(monkeypatch: pytest.MonkeyPatch):
    find = machine.importlib.util.find_spec
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find(name))
    with pytest.raises(Refusal, match=r"lacks ensurepip.*apt-get install python3.*-venv"):
        machine.check_python()


def test_a_full_disk_is_refused_with_what_is_needed(tmp_path: Path):
    with pytest.raises(Refusal, match=r"keeping data needs 10,000,000,000 MB free.*--data DIR"):
        machine.check_space(tmp_path / "not" / "there", 10_000_000_000, "keeping data")


def test_a_file_where_the_data_should_lie_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="is not a folder"):
        machine.check_writable(tmp_path / "file" / "data", "keeping data")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_data_folder_is_refused_even_to_root(tmp_path: Path):
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(Refusal, match="belongs to uid 65534, this is uid 0"):
        machine.check_writable(tmp_path, "keeping data")


@pytest.mark.parametrize(("uid", "remedy"), [(0, r"its own\).*chmod u\+rwx"), (4711, r"owner uid 0\).*Start as that user")])
def test_a_folder_that_may_not_be_written_is_refused_with_what_helps_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, remedy: str):
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(machine.os, "access", lambda path, mode: False)
    monkeypatch.setattr(machine.os, "getuid", lambda: owner + uid)
    with pytest.raises(Refusal, match=remedy.replace("uid 0", f"uid {owner}")):
        machine.check_writable(tmp_path, "keeping data")
