import os
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from gatehouse_cli.paths import DataDir
from gatehouse_cli.programs import Program
from gatehouse_cli.supervision import SupervisionError, base_environment, configuration, write_configuration


@pytest.mark.parametrize("value", ["plain", "50%", "a b", "semi;colon", "it's", "", "a=b,c=d", "postgresql://u:p%40@h/d"])
def test_supervisor_reads_back_exactly_what_was_meant(tmp_path: Path, value: str):
    data = DataDir(tmp_path / "with space and 100%")
    data.make()
    program = Program("web", ["/bin/true", f"--word={value}", value or "x"], {"SECRET": value}, stop_signal="INT")
    path = write_configuration(data, [program])
    options = ServerOptions()
    options.realize(["-c", str(path), "-n"])
    (group,) = options.process_group_configs
    (read,) = group.process_configs
    process = read.make_process(group)
    assert process.get_execv_args()[1] == program.command
    assert read.environment == {"SECRET": value}
    assert read.stdout_logfile == str(data.logs / "web.log")
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("value", ["one\ntwo", 'say "hi"', "a ; b"])
def test_a_value_that_cannot_be_written_is_refused_not_mangled(tmp_path: Path, value: str):
    with pytest.raises(SupervisionError, match="line break"):
        configuration(DataDir(tmp_path), [Program("web", ["x"], {"A": value})])
    with pytest.raises(SupervisionError, match="line break"):
        configuration(DataDir(tmp_path), [Program("web", ["x", value], {})])


def test_processes_inherit_no_secret_of_the_person_who_starts_them():
    given = {"PATH": "/bin", "HOME": "/root", "DATABASE_URL": "postgresql://secret", "AWS_SECRET_ACCESS_KEY": "s", "GATEHOUSE_TOKEN": "t"}
    assert set(base_environment(given)) == {"PATH", "HOME", "LANG", "TZ", "PYTHONUNBUFFERED"}


def test_the_socket_of_a_deep_folder_fits_into_a_socket_address(tmp_path: Path):
    data = DataDir(tmp_path / ("deep/" * 40))
    assert len(os.fsencode(data.supervisor_socket)) < 100
    assert data.supervisor_socket == DataDir(data.root).supervisor_socket
