"""An unmodified mlflow client that knows an address and a token, and nothing of the portal."""

import hashlib
import importlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import httpx
import psutil
import pytest
from django.db import connection

from apps.registry import selectors, services
from apps.registry.models import ModelVersion
from celery_worker.orders import digest_of_folder
from tests.registry.conftest import text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def as_client(live_server, mlflow_is_up, make_user, actor_of, monkeypatch):
    """as_client(user) -> the mlflow module, pointed at the portal with that person's token."""
    from apps.accounts import services as accounts

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = importlib.import_module("mlflow")

    def point(user):
        _, secret = accounts.issue_token(actor=actor_of(user), user=user, name="laptop", scopes=["mlflow"])
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", secret)
        mlflow.set_tracking_uri(f"{live_server.url}/mlflow")
        mlflow.set_registry_uri(f"{live_server.url}/mlflow")
        return mlflow

    yield point
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    # The client also writes them into the environment, for its children.
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)


def test_a_plain_script_logs_registers_and_reads_back(as_client, make_user, name, tmp_path):
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    engineer = make_user("ml_engineer")
    mlflow = as_client(engineer)
    mlflow.set_experiment(name)
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["age", "visits"])
    label = (frame["age"] + frame["visits"] > 0).astype(int)
    model = LogisticRegression().fit(frame, label)
    with warnings.catch_warnings(), mlflow.start_run(run_name="plain script") as run:
        warnings.simplefilter("ignore")
        mlflow.log_params({"c": 1.0})
        mlflow.log_metrics({"accuracy": float(model.score(frame, label))})
        mlflow.log_input(mlflow.data.from_pandas(frame, name="people"), context="training")
        mlflow.log_text("a note", "notes.txt")
        info = mlflow.sklearn.log_model(
            model, name="model", input_example=frame.head(3), registered_model_name=name, pip_requirements=["scikit-learn==1.9.0"]
        )
    assert int(info.registered_model_version) == 1

    row = services.sync_version(name=name, version=1)
    assert (row.status, row.flavor, row.author_user) == ("ready", "sklearn", engineer)
    assert row.params["c"] == "1.0" and row.metrics["accuracy"] > 0.5 and row.run_id == run.info.run_id
    assert selectors.feature_names(row) == ["age", "visits"] and "scikit-learn==1.9.0" in row.requirements.splitlines()
    assert [i.dataset.name for i in row.inputs.all()] == ["people"]

    client = mlflow.MlflowClient()
    assert client.get_model_version(name, "1").run_id == run.info.run_id
    assert [v.version for v in client.search_model_versions(f"name = '{name}'")] == ["1"]
    assert client.get_registered_model(name).name == name
    assert client.get_run(run.info.run_id).data.params["c"] == "1.0"
    assert [m.value for m in client.get_metric_history(run.info.run_id, "accuracy")] == [row.metrics["accuracy"]]
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes.txt") == "a note"
    fetched = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/1", dst_path=str(tmp_path / "model")))
    (fetched / "registered_model_meta").unlink(missing_ok=True)
    assert digest_of_folder(fetched) == row.artifact_digest

    client.set_registered_model_alias(name, "challenger", 1)
    loaded = mlflow.pyfunc.load_model(f"models:/{name}@challenger")
    assert list(loaded.predict(frame.head(3))) == list(model.predict(frame.head(3)))
    with pytest.raises(mlflow.MlflowException, match=r"PERMISSION_DENIED: .*'champion' says that .* is decided for production.* http") as refused:
        client.set_registered_model_alias(name, "champion", 1)
    assert f"/gates/new/?version={row.id}" in str(refused.value)
    with pytest.raises(mlflow.MlflowException, match="Only an administrator may delete the model"):
        client.delete_registered_model(name)
    with pytest.raises(mlflow.MlflowException, match="belongs to the registered version"):
        _overwrite(mlflow, row, tmp_path)

    mlflow = as_client(make_user("auditor"))
    assert mlflow.MlflowClient().get_model_version(name, "1").version == "1"
    with pytest.raises(mlflow.MlflowException, match=r"Your roles may read the .*An ML engineer can"):
        mlflow.MlflowClient().set_model_version_tag(name, "1", "looked", "yes")


def _overwrite(mlflow, row, tmp_path):
    """Try to put another MLmodel where the version's is, as a client that knows the store's address would."""
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    (tmp_path / "MLmodel").write_text("flavors: {}")
    try:
        MlflowArtifactsRepository(f"mlflow-artifacts:/{row.artifact_root}").log_artifact(str(tmp_path / "MLmodel"))
    except Exception as error:
        raise mlflow.MlflowException(str(error)) from error


@pytest.fixture
def gunicorn(mlflow_is_up, tmp_path):
    """The portal as it runs in production: one gunicorn worker over the test database; (base url, process)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = connection.settings_dict
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://{made['USER']}:{made['PASSWORD']}@{made['HOST']}:{made['PORT']}/{made['NAME']}",
        "GATEHOUSE_DATA": str(tmp_path),
        "GATEHOUSE_ALLOWED_HOSTS": "127.0.0.1",
    }
    command = [sys.executable, "-m", "gunicorn", "portal.wsgi:application", "-k", "gthread", "--workers", "1", "--threads", "4"]
    command += ["--bind", f"127.0.0.1:{port}", "--limit-request-line", "8190", "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                if httpx.get(f"{base}/healthz").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield base, process
    finally:
        process.terminate()
        process.wait(20)


def _rss(process):
    return max(child.memory_info().rss for child in psutil.Process(process.pid).children(recursive=True))


def _break_off(base, token, path):
    """Announce 100,000 bytes, send ten, and hang up."""
    with socket.create_connection(("127.0.0.1", int(base.rsplit(":", 1)[1]))) as plain:
        head = f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Length: 100000\r\n\r\n"
        plain.sendall(head.encode() + b"0123456789")


def _soon(test):
    """Whether it becomes true within a minute."""
    until = time.monotonic() + 60
    while not (found := test()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


MIB, LARGE = 1024 * 1024, 300


def _there_and_back(http, url, process):
    """300 MB up; down in part until it is cut off, on from there; what has come is what was sent, and the portal has kept none of it."""
    before, sum_sent, sum_back, most = _rss(process), hashlib.sha256(), hashlib.sha256(), 0
    piece, size = os.urandom(MIB), LARGE * MIB

    def pieces():
        nonlocal most
        for number in range(LARGE):
            each = number.to_bytes(8) + piece[8:]
            sum_sent.update(each)
            most = max(most, _rss(process)) if number % 20 == 0 else most
            yield each

    sent = http.put(url, content=pieces(), headers={"Content-Length": str(size)})
    assert sent.status_code == 200, sent.text
    come = 0
    with http.stream("GET", url) as back:
        assert back.status_code == 200 and back.headers["Accept-Ranges"] == "bytes" and back.headers["Content-Length"] == str(size)
        same = back.headers["ETag"]
        for part in back.iter_bytes(MIB):
            sum_back.update(part)
            come += len(part)
            if come >= 100 * MIB:
                break
    with http.stream("GET", url, headers={"Range": f"bytes={come}-", "If-Range": same}) as rest:
        assert rest.status_code == 206 and rest.headers["Content-Range"] == f"bytes {come}-{size - 1}/{size}"
        for number, part in enumerate(rest.iter_bytes(MIB)):
            sum_back.update(part)
            come += len(part)
            most = max(most, _rss(process)) if number % 20 == 0 else most
    assert come == size and sum_back.digest() == sum_sent.digest()
    assert most - before < 48 * MIB, f"{(most - before) // MIB} MiB for a file of {LARGE}"
    one = http.get(url, headers={"Range": f"bytes={17 * MIB}-{17 * MIB + 7}"})
    assert one.status_code == 206 and one.content == (17).to_bytes(8)
    assert http.get(url, headers={"Range": "bytes=-4"}).content == piece[-4:]
    assert http.get(url, headers={"Range": f"bytes={size}-"}).status_code == 416
    changed = http.stream("GET", url, headers={"Range": "bytes=8-", "If-Range": '"another file"'})
    with changed as whole:
        assert whole.status_code == 200 and whole.headers["Content-Length"] == str(size), "another file begins anew"


def test_a_client_that_would_send_in_parts_sends_the_file_whole(as_client, make_user, name, tmp_path, monkeypatch, caplog, events):
    mlflow = as_client(make_user("ml_engineer"))
    mlflow.set_experiment(name)
    data = os.urandom(3 * MIB)
    (tmp_path / "weights.bin").write_bytes(data)
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(MIB))
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "weights.bin"))
    path = f"{run.info.experiment_id}/{run.info.run_id}/artifacts"
    assert [e.object_id for e in events("registry.mlflow.denied") if run.info.run_id in e.object_id] == [f"/api/2.0/mlflow-artifacts/mpu/create/{path}"], "it has tried"

    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "true")
    log = logging.getLogger("mlflow.store.artifact.mlflow_artifacts_repo")
    log.addHandler(caplog.handler)
    try:
        back = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="weights.bin", dst_path=str(tmp_path / "back"))
    finally:
        log.removeHandler(caplog.handler)
    assert Path(back).read_bytes() == data
    assert "does not support presigned downloads (HTTP 501). Falling back" in caplog.text, "it has tried"


def test_a_client_left_to_itself_learns_that_parts_are_not_offered(endpoint):
    caller = endpoint()
    said = json.loads(text(caller("GET", "/api/3.0/mlflow/server-info")))
    assert said["store_type"] == "SqlStore"
    wanted = {key for key in said if "multipart" in key or "presigned" in key}
    assert len(wanted) == 4 and not any(said[key] for key in wanted) and not any(said["features_enabled"].values())


def test_large_files_pass_both_ways_in_constant_memory_and_paths_are_read_as_sent(gunicorn, endpoint, name, behind_the_back, events):
    base, process = gunicorn
    caller = endpoint()
    headers = {"Authorization": f"Bearer {caller.token}"}
    api = f"{base}/mlflow/api/2.0"
    with httpx.Client(headers=headers, timeout=60) as http:
        experiment = http.post(f"{api}/mlflow/experiments/create", json={"name": name}).json()["experiment_id"]
        run = http.post(f"{api}/mlflow/runs/create", json={"experiment_id": experiment}).json()["run"]["info"]["run_id"]
        where = f"{api}/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts"
        try:
            _there_and_back(http, f"{where}/big.bin", process)
            assert http.put(f"{where}/empty.txt", content=iter([])).status_code == 200
            assert http.put(f"{where}/chunks.txt", content=iter([b"ab", b"c"])).status_code == 200
            assert http.get(f"{where}/chunks.txt").content == b"abc" and http.get(f"{where}/empty.txt").content == b""
            assert http.get(f"{api}/mlflow/runs/get", params={"run_id": run}).status_code == 200, "the connection is still in step"
        finally:
            behind_the_back.delete(f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/big.bin")
        for raw in (
            "/mlflow/api/2.0/mlflow%2fruns/get",
            "/mlflow/api/2.0/mlflow/%2e%2e/mlflow/runs/get",
            "/mlflow//api/2.0/mlflow/runs/get",
        ):
            with socket.create_connection(("127.0.0.1", int(base.rsplit(":", 1)[1]))) as plain:
                plain.sendall(
                    f"GET {raw} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {caller.token}\r\nConnection: close\r\n\r\n".encode()
                )
                assert plain.recv(12) == b"HTTP/1.1 400", raw
        long = "&".join(f"run_ids={i:032x}" for i in range(185))
        bulk = http.get(f"{api}/mlflow/metrics/get-history-bulk-interval?metric_key=x&max_results=5&run_ids={run}")
        assert bulk.status_code == 200 and http.get(f"{api}/mlflow/experiments/search?max_results=1&{long}").status_code == 200
    assert not ModelVersion.objects.filter(model__name=name).exists()
