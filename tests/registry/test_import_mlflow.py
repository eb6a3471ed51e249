"""`import-mlflow` against a real source server and the portal's real endpoint."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from gatehouse_cli import mlflow_copy, mlflow_import
from gatehouse_cli.mlflow_rest import Server, ServerError
from gatehouse_cli.paths import venv_bin

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
API = "/api/2.0/mlflow"


def start_source(folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """An `mlflow server` as a team would have it: its own database, proxied artifacts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(venv_bin(".venv", "mlflow")), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))} | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    # Its job workers take a gigabyte and leave files in shared memory.
    clean["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    process = subprocess.Popen(command, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        assert process.poll() is None, "the source server ended"
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return url, process
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError("the source server does not answer")


@pytest.fixture(scope="module")
def source_url(tmp_path_factory):
    url, process = start_source(tmp_path_factory.mktemp("source"))
    yield url
    os.killpg(process.pid, 9)
    process.wait()


class Source:
    """Writes to the source as its users did."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=60)

    def post(self, path: str, body: dict, method: str = "POST") -> dict:
        answer = self.http.request(method, f"{API}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run(self, experiment: str, **metrics: float) -> str:
        made = self.post("runs/create", {"experiment_id": experiment, "run_name": "fit", "start_time": 1_700_000_000_000})["run"]["info"]
        points = [{"key": k, "value": v + step, "timestamp": 1_700_000_000_000 + step, "step": step} for k, v in metrics.items() for step in range(3)]
        self.post("runs/log-batch", {"run_id": made["run_id"], "metrics": points, "params": [{"key": "depth", "value": "3"}]})
        dataset = {"name": "people", "digest": "abc123", "source_type": "local", "source": "{}"}
        tags = [{"key": "mlflow.data.context", "value": "training"}]
        self.post("runs/log-inputs", {"run_id": made["run_id"], "datasets": [{"dataset": dataset, "tags": tags}]})
        self.post("runs/update", {"run_id": made["run_id"], "status": "FINISHED", "end_time": 1_700_000_009_000})
        return made["run_id"]

    def files(self, experiment: str, run_id: str, folder: str, content: dict[str, bytes]) -> str:
        for path, data in content.items():
            where = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run_id}/artifacts/{folder}/{path}"
            assert self.http.put(where, content=data).status_code == 200
        return f"mlflow-artifacts:/{experiment}/{run_id}/artifacts/{folder}"

    def version(self, name: str, source: str, run_id: str) -> str:
        return self.post("model-versions/create", {"name": name, "source": source, "run_id": run_id})["model_version"]["version"]


MLMODEL = b"flavors:\n  sklearn:\n    pickled_model: model.pkl\n  python_function: {}\n"


@pytest.fixture
def source(source_url):
    return Source(source_url)


@pytest.fixture
def mark():
    return secrets.token_hex(4)


@pytest.fixture
def made(source, mark):
    """Two models: one with two versions of two runs and aliases, one that shares a run."""
    experiment = source.post("experiments/create", {"name": f"risk {mark}"})["experiment_id"]
    first, second = f"imp-{mark}-churn", f"imp-{mark}-fraud"
    source.post("registered-models/create", {"name": first, "description": "who leaves", "tags": [{"key": "team", "value": "crm"}]})
    source.post("registered-models/create", {"name": second})
    runs = [source.run(experiment, auc=0.7), source.run(experiment, auc=0.8)]
    for index, run in enumerate(runs):
        where = source.files(experiment, run, "model", {"MLmodel": MLMODEL, "sub dir/model.pkl": os.urandom(2_000_000 + index)})
        source.version(first, where, run)
    source.version(second, where, run)
    source.post("registered-models/alias", {"name": first, "alias": "challenger", "version": "2"})
    source.post("registered-models/alias", {"name": first, "alias": "champion", "version": "1"})
    return first, second, runs


@pytest.fixture
def portal(live_server, mlflow_is_up, make_user, actor_of, monkeypatch, tmp_path):
    """Point the command at the portal, as an engineer in a folder of their own."""
    from apps.accounts import services as accounts

    person = make_user("ml_engineer")
    _, token = accounts.issue_token(actor=actor_of(person), user=person, name="import", scopes=["mlflow"])
    monkeypatch.setenv("GATEHOUSE_URL", live_server.url)
    monkeypatch.setenv("GATEHOUSE_TOKEN", token)
    monkeypatch.setenv("GATEHOUSE_CALLED_FROM", str(tmp_path))
    return Server(f"{live_server.url}/mlflow", token=token)


def command(capsys, *words: str) -> tuple[int, dict]:
    code = mlflow_import.main([*words])
    said = capsys.readouterr()
    return code, json.loads(said.out or said.err)


def test_models_come_over_whole_with_runs_files_and_aliases(capsys, portal, source_url, made, mark):
    first, second, runs = made
    code, said = command(capsys, source_url, "--models", f"imp-{mark}-*", "--quiet")
    assert code == 0 and (said["models"], said["versions"], said["problems"]) == (2, 3, [])
    assert [w["alias"] for w in said["aliases_that_need_a_gate"]] == ["champion"]
    assert "gate" in said["aliases_that_need_a_gate"][0]["detail"]

    model = portal.get(f"{API}/registered-models/get", name=first)["registered_model"]
    assert model["description"] == "who leaves" and {"key": "team", "value": "crm"} in model["tags"]
    assert [a["alias"] for a in model["aliases"]] == ["challenger"]
    version = portal.get(f"{API}/model-versions/get", name=first, version="2")["model_version"]
    run = portal.get(f"{API}/runs/get", run_id=version["run_id"])["run"]
    assert run["info"]["run_name"] == "fit" and run["info"]["status"] == "FINISHED" and run["info"]["end_time"] == 1_700_000_009_000
    assert {"key": "depth", "value": "3"} in run["data"]["params"]
    history = portal.get(f"{API}/metrics/get-history", run_id=version["run_id"], metric_key="auc")["metrics"]
    assert sorted(p["step"] for p in history) == [0, 1, 2], "every point, not the last alone"
    assert run["inputs"]["dataset_inputs"][0]["dataset"]["name"] == "people"
    other = portal.get(f"{API}/model-versions/get", name=second, version="1")["model_version"]
    assert other["run_id"] == version["run_id"] and other["source"] == version["source"], "a shared run is copied once"

    theirs, ours = Server(source_url), portal
    path = "/api/2.0/mlflow-artifacts/artifacts/{}/sub%20dir/model.pkl"
    with theirs._asked("GET", path.format(f"{_experiment(theirs, runs[1])}/{runs[1]}/artifacts/model")) as answer:
        wanted = answer.read()
    root = version["source"].removeprefix("mlflow-artifacts:/")
    with ours._asked("GET", path.format(root)) as answer:
        assert answer.read() == wanted


def _experiment(server: Server, run_id: str) -> str:
    return server.get(f"{API}/runs/get", run_id=run_id)["run"]["info"]["experiment_id"]


def test_the_importing_person_is_the_author_and_every_write_is_in_the_trail(capsys, portal, source_url, made, mark):
    from apps.audit.models import Event
    from apps.registry.models import ModelVersion

    assert command(capsys, source_url, "--models", f"imp-{mark}-*", "--quiet")[0] == 0
    rows = list(ModelVersion.objects.filter(model__name__startswith=f"imp-{mark}"))
    assert len(rows) == 3 and all(r.author_user_id for r in rows)
    assert Event.objects.filter(action="registry.mlflow.written", object_label=made[0]).exists()


def test_a_second_run_copies_nothing_and_a_new_version_alone_is_added(capsys, portal, source, source_url, made, mark):
    words = (source_url, "--models", f"imp-{mark}-*", "--quiet")
    assert command(capsys, *words)[0] == 0
    code, said = command(capsys, *words)
    assert code == 0 and (said["versions"], said["already_imported"], said["bytes"]) == (0, 3, 0)
    experiment = source.post("experiments/create", {"name": f"more {mark}"})["experiment_id"]
    run = source.run(experiment, auc=0.9)
    source.version(made[1], source.files(experiment, run, "model", {"MLmodel": MLMODEL}), run)
    code, said = command(capsys, *words)
    assert code == 0 and (said["versions"], said["already_imported"]) == (1, 3)


@pytest.mark.parametrize("step", ["runs/create", "model-versions/create", "registered-models/create"])
def test_an_answer_that_got_lost_makes_nothing_twice(capsys, monkeypatch, portal, source_url, made, mark, step):
    real, lost = Server.send, []

    def send(self, path, body, **more):
        answer = real(self, path, body, **more)
        if path.endswith(step) and not lost:
            lost.append(path)
            raise ServerError(0, "", "the connection broke")
        return answer

    monkeypatch.setattr(Server, "send", send)
    words = (source_url, "--models", f"imp-{mark}-*", "--quiet", "--workers", "1")
    command(capsys, *words)
    code, said = command(capsys, *words)
    assert lost and code == 0 and said["problems"] == []
    for name, count in ((made[0], 2), (made[1], 1)):
        rows = list(portal.pages(f"{API}/model-versions/search", "model_versions", filter=f"name = '{name}'"))
        assert len(rows) == count
    experiment = portal.get(f"{API}/experiments/get-by-name", experiment_name=f"Imported: risk {mark}")["experiment"]["experiment_id"]
    assert len(portal.send(f"{API}/runs/search", {"experiment_ids": [experiment]})["runs"]) == 2


def test_killed_in_the_middle_it_goes_on(capsys, monkeypatch, portal, source_url, made, mark, tmp_path):
    copy = Server.copy_to
    count = iter(range(100))

    def breaks(self, *given):
        if next(count) == 3:
            raise KeyboardInterrupt
        return copy(self, *given)

    monkeypatch.setattr(Server, "copy_to", breaks)
    assert mlflow_import.main([source_url, "--models", f"imp-{mark}-*", "--quiet", "--workers", "1"]) == 130
    assert "goes on from here" in capsys.readouterr().err
    monkeypatch.setattr(Server, "copy_to", copy)
    code, said = command(capsys, source_url, "--models", f"imp-{mark}-*", "--quiet")
    assert code == 0 and said["versions"] + said["already_imported"] == 3 and said["already_imported"] >= 1


def test_all_files_of_a_run_come_along_if_asked(capsys, portal, source, source_url, made, mark):
    source.files(_experiment(Server(source_url), made[2][0]), made[2][0], "reports", {"shap.html": b"<p>why</p>"})
    assert command(capsys, source_url, "--models", made[0], "--run-artifacts", "--quiet")[0] == 0
    run_id = portal.get(f"{API}/model-versions/get", name=made[0], version="1")["model_version"]["run_id"]
    assert [f["path"] for f in portal.get(f"{API}/artifacts/list", run_id=run_id, path="reports")["files"]] == ["reports/shap.html"]


def test_a_dry_run_counts_and_leaves_nothing_behind(capsys, portal, source_url, made, mark, tmp_path):
    code, said = command(capsys, source_url, "--models", f"imp-{mark}-*", "--dry-run")
    assert code == 0 and (said["models"], said["versions"], said["runs"], said["aliases"]) == (2, 3, 2, 2)
    assert said["names_taken"] == [] and list(tmp_path.iterdir()) == []
    with pytest.raises(ServerError):
        portal.get(f"{API}/registered-models/get", name=made[0])


def test_a_taken_name_is_a_problem_of_that_model_alone(capsys, portal, source_url, made, mark):
    portal.send(f"{API}/registered-models/create", {"name": made[0]})
    assert command(capsys, source_url, "--models", f"imp-{mark}-*", "--dry-run")[1]["names_taken"] == [made[0]]
    code, said = command(capsys, source_url, "--models", f"imp-{mark}-*", "--quiet")
    assert code == 1 and [p["model"] for p in said["problems"]] == [made[0]] and "Rename" in said["problems"][0]["detail"]
    assert portal.get(f"{API}/model-versions/get", name=made[1], version="1")["model_version"]["status"] == "READY"


def test_files_the_source_cannot_list_are_named(capsys, portal, source, source_url, mark):
    name = f"imp-{mark}-far"
    source.post("registered-models/create", {"name": name})
    source.post("model-versions/create", {"name": name, "source": "s3://bucket/model"})
    code, said = command(capsys, source_url, "--models", name, "--quiet")
    assert code == 1 and "s3://bucket/model" in said["problems"][0]["detail"]


def test_logged_models_come_over(capsys, portal, source_url, mark, monkeypatch, tmp_path):
    name = f"imp-{mark}-logged"
    script = f"""
import mlflow
mlflow.set_tracking_uri({source_url!r})
mlflow.set_experiment("logged {mark}")
with mlflow.start_run():
    mlflow.pyfunc.log_model(name="m", python_model=lambda model_input: model_input, pip_requirements=["mlflow==3.17.2"],
        input_example=["a"], registered_model_name={name!r})
"""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))}
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, env=clean, cwd=tmp_path, capture_output=True)
    code, said = command(capsys, source_url, "--models", name, "--quiet")
    assert code == 0 and said["versions"] == 1 and said["bytes"] > 100
    from apps.registry import services

    assert services.sync_version(name=name, version=1).status == "ready"


@pytest.mark.parametrize(
    ("words", "environment", "says"),
    [
        (["ftp://x"], {}, "no address"),
        (["http://127.0.0.1:1"], {"GATEHOUSE_TOKEN": ""}, "GATEHOUSE_TOKEN"),
        (["http://127.0.0.1:1"], {}, "cannot be heard"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(capsys, monkeypatch, portal, words, environment, says):
    monkeypatch.setattr("gatehouse_cli.mlflow_rest.time.sleep", lambda s: None)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    code, said = command(capsys, *words)
    assert code in {2, 6} and says in said["detail"]


def test_a_state_file_of_another_pair_is_refused(capsys, portal, source_url, made, mark, tmp_path):
    assert command(capsys, source_url, "--models", f"imp-{mark}-fraud", "--quiet", "--state", "s.sqlite")[0] == 0
    code, said = command(capsys, source_url + "/", "--models", f"imp-{mark}-fraud", "--quiet", "--state", "s.sqlite")
    assert code == 0, "a slash at the end is no other server"
    code, said = command(capsys, source_url.replace("127.0.0.1", "localhost"), "--state", "s.sqlite")
    assert code == 2 and "another pair" in said["detail"]


def test_who_may_not_write_is_told_why(capsys, portal, source_url, made, mark, make_user, actor_of, monkeypatch):
    from apps.accounts import services as accounts

    person = make_user("auditor")
    _, token = accounts.issue_token(actor=actor_of(person), user=person, name="import", scopes=["mlflow"])
    monkeypatch.setenv("GATEHOUSE_TOKEN", token)
    code, said = command(capsys, source_url, "--models", f"imp-{mark}-*", "--quiet")
    assert code == 1 and "ML engineer" in said["problems"][0]["detail"]


def test_impossible_file_names_are_refused(monkeypatch):
    server = Server("http://127.0.0.1:1")
    monkeypatch.setattr(Server, "get", lambda self, p, /, **k: {"files": [{"path": "../../etc/passwd", "is_dir": False, "file_size": 1}]})
    copier = mlflow_copy.Copier(server, server, mlflow_import.State(Path(":memory:")))
    with pytest.raises(mlflow_copy.Problem, match="impossible"):
        list(copier._of_run("r", "model"))
