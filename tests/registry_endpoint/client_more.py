"""The rest of what mlflow's client offers: how traces are judged, prompts by their client methods, files in memory, the fluent
functions. Knows nothing of the portal. Usage: client_more.py PART NAME"""

import io
import sys
import tempfile
from pathlib import Path

import matplotlib.figure
import mlflow
import mlflow.genai
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Feedback
from mlflow.genai import label_schemas, review_queues
from mlflow.genai.judges import make_judge
from mlflow.genai.scorers.registry import list_scorer_versions
from mlflow.tracing.client import TracingClient

client = MlflowClient()


def trace(name):
    """A trace with two spans by the client's own calls."""
    root = client.start_trace(name, inputs={"q": 1})
    child = client.start_span("inner", trace_id=root.trace_id, parent_id=root.span_id)
    client.end_span(root.trace_id, child.span_id, outputs={"a": 1})
    client.end_trace(root.trace_id, outputs={"a": 2})
    mlflow.flush_trace_async_logging()
    assert [s.name for s in client.get_trace(root.trace_id).data.spans] == [name, "inner"]
    return root.trace_id


def scorers(experiment):
    judge = make_judge(name="polite", instructions="Is {{ outputs }} polite?", model="openai:/none", feedback_value_type=bool)
    judge.register(experiment_id=experiment)
    assert [s.name for s in mlflow.genai.list_scorers(experiment_id=experiment)] == ["polite"]
    assert mlflow.genai.get_scorer(name="polite", experiment_id=experiment).name == "polite"
    assert [v for _, v in list_scorer_versions(name="polite", experiment_id=experiment)] == [1]
    return judge


def schemas(experiment):
    made = label_schemas.create_label_schema(
        "tone", type="feedback", input=label_schemas.InputCategorical(options=["good", "bad"]), experiment_id=experiment
    )
    assert label_schemas.get_label_schema(schema_id=made.schema_id).name == "tone"
    assert label_schemas.get_label_schema("tone", experiment_id=experiment).schema_id == made.schema_id
    assert "tone" in {s.name for s in label_schemas.list_label_schemas(experiment)}
    assert label_schemas.update_label_schema(made.schema_id, instruction="How does it sound?").instruction == "How does it sound?"
    return made.schema_id


def queues(experiment, schema_id, trace_id):
    made = review_queues.create_review_queue(
        "weekly", queue_type="custom", users=["a@example.org"], schema_ids=[schema_id], experiment_id=experiment
    )
    mine = review_queues.get_or_create_user_queue("a@example.org", experiment_id=experiment)
    assert (
        review_queues.get_review_queue(made.queue_id).name == review_queues.get_review_queue(name="weekly", experiment_id=experiment).name
    )
    assert {made.queue_id, mine.queue_id} <= {q.queue_id for q in review_queues.list_review_queues(experiment_id=experiment)}
    assert review_queues.update_review_queue(made.queue_id, name="monthly").name == "monthly"
    review_queues.add_items_to_review_queue(made.queue_id, item_ids=[trace_id])
    done = review_queues.set_review_queue_item_status(made.queue_id, item_id=trace_id, status="complete", completed_by="somebody else")
    print("finished by", done.completed_by)
    again = review_queues.set_review_queue_item_status(made.queue_id, item_id=trace_id, status="pending")
    assert again.completed_by is None
    assert [i.item_id for i in review_queues.list_review_queue_items(made.queue_id)] == [trace_id]
    review_queues.remove_items_from_review_queue(made.queue_id, item_ids=[trace_id])
    assert list(review_queues.list_review_queue_items(made.queue_id)) == []
    return made.queue_id


def issues(experiment, trace_id):
    store = TracingClient().store
    made = store.create_issue(experiment_id=experiment, name="rude", description="It sounds rude.", created_by="somebody else")
    print("found by", made.created_by)
    assert store.get_issue(made.issue_id).name == "rude"
    assert store.update_issue(made.issue_id, name="ruder").name == "ruder"
    assert [i.name for i in store.search_issues(experiment_id=experiment)] == ["ruder"]
    assert mlflow.log_issue(trace_id=trace_id, issue_id=made.issue_id).assessment_id


def assessments(trace_id):
    person = AssessmentSource("HUMAN", "a@example.org")
    given = mlflow.log_feedback(trace_id=trace_id, name="good", value=False, source=person)
    mlflow.override_feedback(trace_id=trace_id, assessment_id=given.assessment_id, value=True)
    expected = mlflow.log_expectation(trace_id=trace_id, name="answer", value="2", source=person)
    expected.expectation.value = "3"
    assert mlflow.update_assessment(trace_id, expected.assessment_id, expected).expectation.value == "3"
    mlflow.log_assessment(trace_id, Feedback(name="short", value=True))


def prompts(name, run, trace_id):
    prompt = f"{name}-client"
    client.create_prompt(prompt, "what it is", {"a": "b"})
    made = client.create_prompt_version(prompt, "Say {{word}}", "first")
    assert client.get_prompt(prompt).name == prompt and client.get_prompt_version(prompt, 1).template == made.template
    assert client.register_prompt(prompt, "Shout {{word}}").version == 2
    assert client.load_prompt(f"prompts:/{prompt}/2").template == "Shout {{word}}"
    assert client.parse_prompt_uri(f"prompts:/{prompt}/2") == (prompt, "2")
    client.set_prompt_tag(prompt, "k", "v")
    client.delete_prompt_tag(prompt, "k")
    client.set_prompt_version_tag(prompt, "1", "k", "v")
    client.delete_prompt_version_tag(prompt, "1", "k")
    client.set_prompt_alias(prompt, "draft", 1)
    assert client.get_prompt_version_by_alias(prompt, "draft").version == 1
    client.link_prompt_version_to_run(run, f"prompts:/{prompt}/1")
    logged = client.create_logged_model(client.get_run(run).info.experiment_id, "with-prompt", source_run_id=run)
    client.link_prompt_version_to_model(prompt, "1", logged.model_id)
    client.link_prompt_versions_to_trace([made], trace_id)
    client.list_logged_prompts(run)
    return prompt


def files(run):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.txt").write_text("a")
        client.log_artifact(run, str(Path(folder, "a.txt")), "memory")
    client.log_stream(run, io.BytesIO(b"stream"), "memory/s.bin")
    client.log_image(run, np.zeros((4, 4, 3), dtype=np.uint8), artifact_file="memory/i.png")
    client.log_figure(run, matplotlib.figure.Figure(), "memory/f.png")
    found = {a.path for a in client.list_artifacts(run, "memory")}
    assert found == {f"memory/{n}" for n in ("a.txt", "s.bin", "i.png", "f.png")}, found


def fluent(name):
    with mlflow.start_run(run_name="fluent") as run:
        mlflow.log_param("p", 1)
        mlflow.log_params({"q": 2})
        mlflow.log_metric("m", 1.0)
        mlflow.log_metrics({"n": 2.0})
        mlflow.set_tag("t", "1")
        mlflow.set_tags({"u": "2"})
        mlflow.delete_tag("u")
        mlflow.log_text("x", "notes/x.txt")
        mlflow.log_dict({"a": 1}, "notes/d.json")
        mlflow.log_table({"x": [1]}, "notes/t.json")
        mlflow.log_input(mlflow.data.from_numpy(np.zeros((2, 2)), name="zeros"), context="training")
        mlflow.pyfunc.log_model(
            name="m", python_model=lambda model_input: model_input, pip_requirements=["mlflow==3.17.2"], input_example=["a"]
        )
    loaded = mlflow.pyfunc.load_model(mlflow.last_logged_model().model_uri)
    assert "b" in str(loaded.predict(["b"]))
    version = mlflow.register_model(mlflow.last_logged_model().model_uri, f"{name}-fluent")
    assert mlflow.search_model_versions(filter_string=f"name = '{name}-fluent'")[0].version == version.version
    mlflow.set_model_version_tag(f"{name}-fluent", version.version, "k", "v")
    assert run.info.run_id in set(mlflow.search_runs([mlflow.get_run(run.info.run_id).info.experiment_id])["run_id"])
    mlflow.create_external_model(name="outside", source_run_id=run.info.run_id)
    outside = mlflow.initialize_logged_model(name="inside", source_run_id=run.info.run_id)
    mlflow.finalize_logged_model(outside.model_id, "READY")
    assert {"outside", "inside"} <= {m.name for m in mlflow.search_logged_models(output_format="list")}
    mlflow.set_experiment_tags({"a": "b"})
    with mlflow.start_run():
        mlflow.evaluate(
            model=lambda frame: frame["x"], data=__import__("pandas").DataFrame({"x": [0, 1, 1], "y": [0, 1, 0]}), targets="y", model_type="classifier",
            evaluator_config={"log_explainer": False},
        )  # fmt: skip
    client.transition_model_version_stage(f"{name}-fluent", version.version, "Archived")
    assert client.tracking_uri and client.get_workspace_store_uri() is not None


def work(name):
    experiment = client.create_experiment(name)
    mlflow.set_experiment(experiment_id=experiment)
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, "m", 1.0)
    assert [m.value for m in client.get_metric_history(run, "m")] == [1.0]
    trace_id = trace(name)
    scorers(experiment)
    schema_id = schemas(experiment)
    queues(experiment, schema_id, trace_id)
    issues(experiment, trace_id)
    assessments(trace_id)
    prompts(name, run, trace_id)
    files(run)
    fluent(name)
    print("all done")


def delete(name):
    """What only an administrator may."""
    experiment = client.get_experiment_by_name(name).experiment_id
    mlflow.set_experiment(experiment_id=experiment)
    queue = review_queues.get_review_queue(name="monthly", experiment_id=experiment)
    review_queues.delete_review_queue(queue.queue_id)
    label_schemas.delete_label_schema(schema_id=label_schemas.get_label_schema("tone", experiment_id=experiment).schema_id)
    mlflow.genai.delete_scorer(name="polite", experiment_id=experiment, version="all")
    found = client.search_traces(locations=[experiment])
    assert client.delete_traces(experiment, trace_ids=[t.info.trace_id for t in found]) == len(found)
    logged = client.search_logged_models([experiment])
    client.delete_logged_model(logged[0].model_id)
    made = client.create_dataset(f"{name}-gone", experiment_id=experiment)
    client.delete_dataset(made.dataset_id)
    client.delete_prompt_version(f"{name}-client", "2")
    client.delete_prompt_alias(f"{name}-client", "draft")
    client.delete_prompt(f"{name}-client")
    print("all gone")


if __name__ == "__main__":
    {"work": work, "delete": delete}[sys.argv[1]](sys.argv[2])
