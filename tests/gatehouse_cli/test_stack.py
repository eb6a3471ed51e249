import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest
import redis

from gatehouse_cli import guard, orphans, postgres, roles, suite
from gatehouse_cli.paths import REPO, DataDir
from gatehouse_cli.stack import AlreadyRunning, Stack, StackError


def superuser(stack: Stack) -> str:
    return stack.database_url("postgres", "postgres")


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_what_is_killed_comes_back_with_its_data(stack: Stack):
    stack.start("postgres", "valkey")
    redis.Redis.from_url(stack.layout.redis_url).set("kept", "yes")
    with psycopg.connect(superuser(stack), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (word text)")
    for name in ("postgres", "valkey"):
        before = stack.kill9(name)
        stack.wait_ready(name)
        assert stack.pid(name) not in (0, before)
    with psycopg.connect(superuser(stack)) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert redis.Redis.from_url(stack.layout.redis_url).get("kept") == b"yes"


def test_without_restart_what_is_killed_stays_dead_until_it_is_started(tmp_path: Path):
    with Stack(tmp_path / "portal", durable=False, restart=False) as stack:
        stack.start("valkey")
        stack.kill9("valkey")
        wait_until(lambda: stack.state()["valkey"]["statename"] in {"EXITED", "FATAL"})
        with pytest.raises(StackError, match="valkey does not start"):
            stack.wait_ready("valkey")
        stack.start("valkey")
        assert stack.pid("valkey")


def test_a_second_launcher_in_the_same_folder_is_refused_with_the_way_out(stack: Stack):
    stack.start("valkey")
    with pytest.raises(AlreadyRunning, match="gatehouse down --data"):
        Stack(stack.data.root).prepare()


def test_a_launcher_killed_hard_takes_everything_with_it_in_order(tmp_path: Path):
    code = (
        "import sys,time; from pathlib import Path; from gatehouse_cli.stack import Stack\n"
        "s = Stack(Path(sys.argv[1]), durable=False); s.start('postgres', 'valkey'); print('up', flush=True); time.sleep(60)"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "portal")], cwd=REPO, stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == b"up\n"
    data = DataDir(tmp_path / "portal")
    assert orphans.find(data)
    launcher.kill()
    launcher.wait()
    wait_until(lambda: not guard.running(data) and not orphans.find(data))
    assert "database system is shut down" in (data.logs / "postgres.log").read_text()


def test_what_a_killed_supervisor_left_is_ended_in_order(stack: Stack):
    stack.start("postgres", "valkey")
    left = [stack.pid("postgres"), stack.pid("valkey")]
    supervisor = int((stack.data.run / "supervisord.pid").read_text())
    holder = guard.running(stack.data)
    os.kill(holder, signal.SIGSTOP)  # it must not tidy up
    os.kill(supervisor, signal.SIGKILL)
    os.kill(holder, signal.SIGKILL)
    wait_until(lambda: not guard.running(stack.data))
    assert set(left) <= set(orphans.find(stack.data))
    with psycopg.connect(superuser(stack)):  # it does not wait for those who stay connected
        began = time.monotonic()
        assert set(left) <= set(orphans.end(stack.data, patience_s=60))
        assert time.monotonic() - began < 40
    # It takes this away when it ends in order.
    assert not Path(stack.layout.env["postgres_cluster"], "postmaster.pid").exists()
    again = Stack(stack.data.root, durable=False)
    again.start("postgres", "valkey")
    assert not {again.pid("postgres"), again.pid("valkey")} & set(left)
    again.stop()


def test_what_a_killed_supervisor_left_is_ended_by_the_next_start(stack: Stack):
    stack.start("valkey")
    left = stack.pid("valkey")
    for pid, number in ((guard.running(stack.data), signal.SIGSTOP), (int((stack.data.run / "supervisord.pid").read_text()), signal.SIGKILL)):
        os.kill(pid, number)
    os.kill(guard.running(stack.data), signal.SIGKILL)
    wait_until(lambda: not guard.running(stack.data))
    again = Stack(stack.data.root, durable=False)
    again.start("valkey")
    assert again.pid("valkey") != left
    again.stop()


def test_a_copy_runs_beside_the_original_with_ports_of_its_own(stack: Stack, tmp_path: Path):
    stack.start("postgres")
    roles.ensure_roles(superuser(stack), stack.layout.env["passwords"])
    with psycopg.connect(stack.database_url("gatehouse_owner")) as connection:
        connection.execute("CREATE TABLE story (line text)")
        connection.execute("INSERT INTO story VALUES ('once')")
    with pytest.raises(StackError, match="Stop the portal"):
        stack.snapshot(tmp_path / "copy")
    stack.stop()
    stack.snapshot(tmp_path / "copy")
    stack.start("postgres")
    with Stack(tmp_path / "second", durable=False) as second:
        second.restore(tmp_path / "copy")
        second.start("postgres")
        assert second.layout.port("postgres") != stack.layout.port("postgres")
        with psycopg.connect(second.database_url("gatehouse_owner")) as connection:
            assert connection.execute("SELECT line FROM story").fetchone() == ("once",)


def test_a_wished_port_that_is_taken_is_refused_and_a_remembered_one_is_replaced(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} is taken.*--port"):
            Stack(tmp_path / "a", ports={"web": port}).prepare()
        said: list[str] = []
        other = Stack(tmp_path / "b", preferred_ports={"web": port}, say=said.append, durable=False)
        other.prepare()
        assert other.layout.port("web") != port
        assert any(str(port) in line for line in said)


def test_a_half_made_cluster_is_made_again_and_a_lost_one_is_not(stack: Stack):
    stack.prepare()
    cluster = Path(stack.layout.env["postgres_cluster"])
    stamp = cluster.with_name(cluster.name + ".complete")
    stamp.unlink()
    (cluster / "PG_VERSION").unlink()
    stack.prepare()
    assert (cluster / "PG_VERSION").exists()
    shutil.rmtree(cluster)
    with pytest.raises(RuntimeError, match="Restore it from a backup"):
        stack.prepare()


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user needs no second uid")
def test_root_runs_postgres_as_somebody_else_and_opens_no_folder_for_it(stack: Stack):
    stack.start("postgres")
    status = Path(f"/proc/{stack.pid('postgres')}/status").read_text()
    uid = int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1])
    assert uid == Path(stack.layout.env["postgres_cluster"]).stat().st_uid
    assert uid != 0 or (Path(f"/proc/{stack.pid('postgres')}/uid_map").read_text().split()[0] != "0")
    assert stack.data.root.stat().st_mode & 0o077 == 0


def test_no_password_is_on_a_command_line_or_readable_by_others(stack: Stack):
    stack.start("postgres", "valkey")
    env = stack.layout.env
    secrets = [env["valkey_password"], env["mlflow_token"], env["secret_key"], *env["passwords"].values()]
    for pid in orphans.find(stack.data):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        assert not [secret for secret in secrets if secret in words]
    files = [stack.data.env_file, stack.data.run / "supervisord.conf", stack.data.valkey / "valkey.conf"]
    for path in [*files, *stack.data.keys.glob("*.pem")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_private_mlflow_answers_the_portal_alone(stack: Stack):
    stack.restore(suite.ready_made())
    stack.start("postgres", "mlflow")
    url, token = stack.layout.mlflow_url, stack.layout.env["mlflow_token"]

    def asked(path: str, *shown: str) -> int:
        request = urllib.request.Request(url + path)
        for value in shown:
            request.add_header("Authorization", value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            assert "token of the portal" in error.read().decode()
            return error.code

    search = "/api/2.0/mlflow/registered-models/search"
    assert asked(search, f"Bearer {token}") == 200 and asked("/health") == 200
    for path in (search, "/", "/graphql", "/health/", "/version", "//api/2.0/mlflow/registered-models/search", "/ajax-api/2.0/mlflow/users/current"):
        assert asked(path) == 401, path
    for wrong in (token, f"Bearer {token}x", f"bearer {token}", "Bearer ", "Basic YTpi"):
        assert asked(search, wrong) == 401
    assert stack.env("web")["GATEHOUSE_MLFLOW_TOKEN"] == token


def test_mlflow_is_not_opened_to_others_without_a_token():
    command = [sys.executable, "-m", "gatehouse_cli.mlflow_server", "1", "0.0.0.0"]
    done = subprocess.run(command, cwd=REPO, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and "GATEHOUSE_MLFLOW_TOKEN is not set" in done.stderr


def test_each_role_reaches_its_own_database_only(stack: Stack):
    stack.start("postgres")
    roles.ensure_roles(superuser(stack), stack.layout.env["passwords"])
    roles.ensure_roles(superuser(stack), stack.layout.env["passwords"])
    for role, database in (("gatehouse_web", "mlflow"), ("gatehouse_mlflow", "gatehouse"), ("gatehouse_seal", "mlflow")):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(stack.database_url(role, database)).close()
    with psycopg.connect(stack.database_url("gatehouse_web")) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE mine (x int)")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(stack.database_url("gatehouse_web").replace(stack.layout.env["passwords"]["gatehouse_web"], "guess")).close()


def test_a_system_postgres_is_found_by_its_version(tmp_path: Path):
    for number, text in {"14": "14.9", "16": "16.3 (Debian 16.3-1)", "17": "17beta1"}.items():
        folder = tmp_path / number / "bin"
        folder.mkdir(parents=True)
        for program in ("postgres", "initdb"):
            (folder / program).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {text}'\n")
            (folder / program).chmod(0o755)
    folders = [tmp_path / number / "bin" for number in ("14", "16", "17")]
    assert postgres.system_bin(folders) == folders[2]
    with pytest.raises(RuntimeError, match="found: 14 in"):
        postgres.system_bin(folders[:1])


def test_an_editor_in_the_data_folder_is_not_taken_for_a_left_over(stack: Stack):
    stack.prepare()
    reader = subprocess.Popen(["tail", "-f", str(stack.data.env_file)], stdout=subprocess.DEVNULL, cwd=stack.data.root)
    try:
        assert reader.pid not in orphans.find(stack.data)
    finally:
        reader.kill()
        reader.wait()


def test_a_stranger_that_took_the_port_meanwhile_is_not_taken_for_ours(tmp_path: Path):
    with Stack(tmp_path / "one", durable=False) as one, Stack(tmp_path / "two", durable=False) as two:
        two.prepare()
        two.layout.env["valkey_password"] = "the-same"
        two._configure()
        one.prepare()
        one.layout.env["ports"]["valkey"] = two.layout.port("valkey")
        one.layout.env["valkey_password"] = "the-same"
        one._configure()
        one.start("valkey")
        with pytest.raises(StackError, match="was taken by another program meanwhile"):
            two.start("valkey")


def test_a_disk_that_is_full_while_the_cluster_is_made_is_named(tmp_path: Path):
    for program, text in {"postgres": "postgres (PostgreSQL) 18.1", "initdb": "could not write: No space left on device"}.items():
        (tmp_path / program).write_text(f"#!/bin/sh\necho '{text}'\n[ {program} = postgres ]\n")
        (tmp_path / program).chmod(0o755)
    tmp_path.chmod(0o755)
    with pytest.raises(RuntimeError, match=r"the disk is full.*Free some space"):
        postgres.make_cluster(tmp_path / "cluster", tmp_path, superuser_password="p")
