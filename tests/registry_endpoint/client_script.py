"""What an engineer's script may do with mlflow's client. Knows nothing of the portal. Usage: client_script.py PART NAME"""

import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag, ViewType

client = MlflowClient()


def make(name):
    """An experiment, a run with files, a model with one version."""
    experiment = client.create_experiment(name, tags={"team": "care"})
    run = client.create_run(experiment, run_name="first").info.run_id
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "MLmodel").write_text("flavors: {}")
        client.log_artifacts(run, folder, "model")
    client.create_registered_model(name, tags={"a": "b"}, description="what it is for")
    client.create_model_version(name, f"runs:/{run}/model", run)
    return experiment, run


def experiments(name, experiment):
    assert client.get_experiment(experiment).name == name
    assert client.get_experiment_by_name(name).experiment_id == experiment
    client.set_experiment_tag(experiment, "k", "v")
    assert client.get_experiment(experiment).tags["k"] == "v"
    client.delete_experiment_tag(experiment, "k")
    assert "k" not in client.get_experiment(experiment).tags
    assert [e.name for e in client.search_experiments(filter_string=f"name = '{name}'", max_results=3)] == [name]
    client.rename_experiment(experiment, f"{name}-renamed")
    assert client.get_experiment_by_name(f"{name}-renamed").experiment_id == experiment


def runs(experiment, run):
    client.log_metric(run, "m", 1.0, step=1)
    client.log_metric(run, "m", 2.0, step=2)
    client.log_param(run, "p", "1")
    client.set_tag(run, "t", "1")
    client.log_batch(run, [Metric("n", 3.0, 1, 0)], [Param("q", "2")], [RunTag("u", "2")])
    client.log_inputs(run, [DatasetInput(Dataset("d", "abc", "code", "{}"), [InputTag("mlflow.data.context", "training")])])
    client.delete_tag(run, "u")
    found = client.get_run(run)
    assert found.data.metrics == {"m": 2.0, "n": 3.0} and found.data.params == {"p": "1", "q": "2"} and "u" not in found.data.tags
    assert found.inputs.dataset_inputs[0].dataset.name == "d"
    assert [m.value for m in client.get_metric_history(run, "m")] == [1.0, 2.0]
    client.update_run(run, name="second", status="RUNNING")
    client.set_terminated(run)
    assert [r.info.run_id for r in client.search_runs([experiment], "metrics.m > 1", ViewType.ALL, 5, ["metrics.m DESC"])] == [run]
    assert client.get_parent_run(run) is None


def artifacts(run):
    client.log_text(run, "a note", "notes/note.txt")
    client.log_dict(run, {"a": 1}, "notes/d.json")
    client.log_table(run, {"x": [1, 2]}, "notes/t.json")
    assert {a.path for a in client.list_artifacts(run, "notes")} == {"notes/note.txt", "notes/d.json", "notes/t.json"}
    assert list(client.load_table(client.get_run(run).info.experiment_id, "notes/t.json", [run])["x"]) == [1, 2]
    with tempfile.TemporaryDirectory() as folder:
        assert Path(client.download_artifacts(run, "notes/note.txt", folder)).read_text() == "a note"


def logged_models(experiment, run):
    made = client.create_logged_model(experiment, "lm", source_run_id=run, params={"a": "1"}, tags={"t": "1"}, model_type="x")
    client.log_model_params(made.model_id, {"b": "2"})
    client.set_logged_model_tags(made.model_id, {"u": "2"})
    client.delete_logged_model_tag(made.model_id, "t")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "w.txt").write_text("w")
        client.log_model_artifact(made.model_id, str(Path(folder, "w.txt")))
        client.log_model_artifacts(made.model_id, folder)
    assert [a.path for a in client.list_logged_model_artifacts(made.model_id)] == ["w.txt"]
    client.log_outputs(run, [LoggedModelOutput(made.model_id, 0)])
    client.finalize_logged_model(made.model_id, "READY")
    found = client.get_logged_model(made.model_id)
    assert found.params == {"a": "1", "b": "2"} and found.tags.get("u") == "2" and "t" not in found.tags
    assert [m.model_id for m in client.search_logged_models([experiment])] == [made.model_id]
    return made.model_id


def registry(name, run):
    client.update_registered_model(name, "other words")
    client.set_registered_model_tag(name, "k", "v")
    client.delete_registered_model_tag(name, "k")
    assert client.get_registered_model(name).description == "other words"
    assert [m.name for m in client.search_registered_models(f"name = '{name}'")] == [name]
    client.update_model_version(name, "1", "first of all")
    client.set_model_version_tag(name, "1", "k", "v")
    client.delete_model_version_tag(name, "1", "k")
    assert client.get_model_version(name, "1").run_id == run
    assert run in client.get_model_version_download_uri(name, "1")
    assert [v.version for v in client.search_model_versions(f"name = '{name}'")] == ["1"]
    assert client.get_latest_versions(name)[0].version == "1"
    assert client.get_model_version_stages(name, "1")
    client.set_registered_model_alias(name, "first", "1")
    assert client.get_model_version_by_alias(name, "first").version == "1"
    client.create_registered_model(f"{name}-copy")
    assert client.copy_model_version(f"models:/{name}/1", f"{name}-copy").name == f"{name}-copy"
    client.delete_registered_model_alias(name, "first")
    client.rename_registered_model(f"{name}-copy", f"{name}-copied")
    assert client.get_registered_model(f"{name}-copied").name == f"{name}-copied"


def prompts(name):
    made = mlflow.genai.register_prompt(f"{name}-prompt", "Say {{word}}", commit_message="first", tags={"a": "b"})
    assert made.version == 1 and mlflow.genai.load_prompt(f"prompts:/{name}-prompt/1").template == "Say {{word}}"
    client.set_prompt_alias(f"{name}-prompt", "draft", 1)
    assert mlflow.genai.load_prompt(f"prompts:/{name}-prompt@draft").version == 1
    client.delete_prompt_alias(f"{name}-prompt", "draft")
    client.set_prompt_version_tag(f"{name}-prompt", "1", "k", "v")
    assert [p.name for p in client.search_prompts(f"name = '{name}-prompt'")] == [f"{name}-prompt"]


def traces(experiment, run):
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_span("outer") as span:
        span.set_inputs({"a": 1})
    mlflow.flush_trace_async_logging()
    trace_id = span.trace_id
    assert client.get_trace(trace_id).info.trace_id == trace_id
    client.set_trace_tag(trace_id, "k", "v")
    client.delete_trace_tag(trace_id, "k")
    assert trace_id in {t.info.trace_id for t in client.search_traces(locations=[experiment])}
    feedback = mlflow.log_feedback(trace_id=trace_id, name="good", value=True)
    assert mlflow.get_assessment(trace_id, feedback.assessment_id).name == "good"
    mlflow.delete_assessment(trace_id=trace_id, assessment_id=feedback.assessment_id)
    client.link_traces_to_run([trace_id], run)


def datasets(experiment, name):
    made = client.create_dataset(f"{name}-data", experiment_id=experiment, tags={"a": "b"})
    assert client.get_dataset(made.dataset_id).name == f"{name}-data"
    made.merge_records([{"inputs": {"q": "1"}, "expectations": {"a": "2"}}])
    assert len(client.get_dataset(made.dataset_id).to_df()) == 1
    client.set_dataset_tags(made.dataset_id, {"k": "v"})
    client.delete_dataset_tag(made.dataset_id, "k")
    assert made.dataset_id in {d.dataset_id for d in client.search_datasets(experiment_ids=[experiment])}
    other = client.create_experiment(f"{name}-other")
    try:
        client.add_dataset_to_experiments(made.dataset_id, [other])
        client.remove_dataset_from_experiments(made.dataset_id, [other])
    except mlflow.MlflowException as error:
        # MLflow 3.17.2 cannot do this on PostgreSQL; what it says of it comes through as it is.
        assert "UndefinedFunction" in str(error), error


def work(name):
    experiment, run = make(name)
    experiments(name, experiment)
    runs(experiment, run)
    artifacts(run)
    logged_models(experiment, run)
    registry(name, run)
    prompts(name)
    traces(experiment, run)
    datasets(experiment, name)
    print("all done")


def delete(name):
    experiment = client.get_experiment_by_name(name).experiment_id
    run = client.search_runs([experiment])[0].info.run_id
    client.delete_model_version(name, "1")
    client.delete_registered_model(name)
    client.delete_run(run)
    client.restore_run(run)
    client.delete_experiment(experiment)
    client.restore_experiment(experiment)
    assert client.get_run(run).info.lifecycle_stage == "active"
    print("all gone")


def promote(name):
    client.set_registered_model_alias(name, "champion", "1")


def look(name):
    client.get_registered_model(name)


if __name__ == "__main__":
    {"work": work, "make": make, "delete": delete, "promote": promote, "look": look}[sys.argv[1]](sys.argv[2])
