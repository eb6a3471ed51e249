"""Train and register the two versions of the sample model with plain mlflow.

Nothing here knows the portal: MLFLOW_TRACKING_URI and MLFLOW_TRACKING_TOKEN point the mlflow client at it as
they would at any server. Prints one JSON line per version.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from importlib.metadata import version as installed
from typing import Any

import mlflow
import mlflow.sklearn
import numpy as np
from mlflow.data import from_pandas
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.models import infer_signature
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import check_array

from demo import data, story

SEED = 0
# Candidate cut-offs for the probability: 0.020, 0.025, ... 0.600.
_CUT_OFFS = np.round(np.arange(0.02, 0.6001, 0.005), 3)
# MLflow's default scikit-learn format refuses to load any type that is not named here.
TRUSTED_TYPES = {
    1: ["sklearn.utils.validation.check_array"],
    2: ["sklearn.tree._tree.Tree", "sklearn.utils.validation.check_array"],
}
_SERVED_WITH = ("mlflow", "numpy", "pandas", "scikit-learn", "skops")


def build(version: int) -> Pipeline:
    """The unfitted estimator of a version: 1 is plain and needs no history, 2 uses every feature.

    Both accept a frame with story.FEATURES or a bare n x 9 array in that order, and refuse nulls.
    """
    check = ("check", FunctionTransformer(check_array))
    if version == 1:
        positions = [story.FEATURES.index(name) for name in story.MODEL_FEATURES_V1]
        pick = ColumnTransformer([("keep", "passthrough", positions)])
        return Pipeline([check, ("pick", pick), ("scale", StandardScaler()), ("classify", LogisticRegression())])
    boosting = GradientBoostingClassifier(
        n_estimators=120,
        max_depth=3,
        learning_rate=0.08,
        subsample=0.8,
        min_samples_leaf=30,
        random_state=SEED,
    )
    return Pipeline([check, ("classify", boosting)])


def fit(version: int, windows: dict[str, data.Window]) -> tuple[FixedThresholdClassifier, float]:
    """Fit a version on train and set its cut-off on validation where decisions cost least.

    Returns the model, whose `predict` gives the 0/1 decision and `predict_proba` the probability, and the cut-off.
    """
    train, validation = windows["train"], windows["validation"]
    fitted = build(version).fit(train.features, train.label)
    probability = fitted.predict_proba(validation.features)[:, 1]
    costs = [data.row_costs_usd((probability >= cut).astype("int64"), validation.label).mean() for cut in _CUT_OFFS]
    cut_off = float(_CUT_OFFS[int(np.argmin(costs))])
    model = FixedThresholdClassifier(FrozenEstimator(fitted), threshold=cut_off, response_method="predict_proba")
    return model.fit(train.features, train.label), cut_off


def figures(model: FixedThresholdClassifier, window: data.Window) -> dict[str, float]:
    """Quality and cost of a model on one window, keyed `<window>_<measure>`."""
    decision = model.predict(window.features)
    probability = model.predict_proba(window.features)[:, 1]
    cost, low, high = data.mean_per_1k(data.row_costs_usd(decision, window.label))
    values = {
        "cost_per_1k_usd": cost,
        "cost_per_1k_usd_low95": low,
        "cost_per_1k_usd_high95": high,
        "recall": float(decision[window.label == 1].mean()),
        "contacted_share": float(decision.mean()),
        "roc_auc": float(roc_auc_score(window.label, probability)),
        "rows": float(len(window)),
        "true_positives": float(np.sum((decision == 1) & (window.label == 1))),
        "false_positives": float(np.sum((decision == 1) & (window.label == 0))),
        "true_negatives": float(np.sum((decision == 0) & (window.label == 0))),
        "false_negatives": float(np.sum((decision == 0) & (window.label == 1))),
    }
    return {f"{window.name}_{name}": value for name, value in values.items()}


def register(version: int, *, model_name: str, windows: dict[str, data.Window]) -> dict[str, Any]:
    """Train one version, log its run and register it.

    Returns `run_id`, `name`, `version` (the registry's number), `cut_off` and `metrics`. Raises MlflowException
    when the server refuses.
    """
    train, validation = windows["train"], windows["validation"]
    model, cut_off = fit(version, windows)
    metrics = figures(model, validation)
    baseline = data.row_costs_usd(data.rule_of_thumb(validation.features), validation.label)
    metrics["validation_baseline_cost_per_1k_usd"] = data.mean_per_1k(baseline)[0]
    classify = model.estimator_.estimator.named_steps["classify"]
    with mlflow.start_run(run_name=f"{model_name} {type(classify).__name__}") as run:
        mlflow.set_tags({"story": "care outreach", "mlflow.note.content": story.VERSION_NOTES[version]})
        mlflow.log_params(
            {
                "algorithm": type(classify).__name__,
                "cut_off": cut_off,
                "miss_usd": story.MISS_USD,
                "false_alarm_usd": story.FALSE_ALARM_USD,
                "high_use_visits": story.HIGH_USE_VISITS,
                "features_used": ",".join(story.MODEL_FEATURES_V1 if version == 1 else story.FEATURES),
                **{k: v for k, v in classify.get_params().items() if v is not None},
            }
        )
        for window, context in ((train, "training"), (validation, "validation")):
            frame = window.features.assign(high_use=window.label)
            source = CodeDatasetSource(
                tags={
                    "package": f"statsmodels=={installed('statsmodels')}",
                    "dataset": story.DATASET_SOURCE,
                    "licence": story.DATASET_LICENCE,
                    "window": window.name,
                    "split_rule": story.SPLIT_RULE,
                }
            )
            mlflow.log_input(
                from_pandas(frame, source=source, targets="high_use", name=f"randhie-{window.name}"),
                context=context,
            )
        mlflow.log_metrics(metrics)
        example = validation.features.head(5)
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(example, model.predict(example)),
            input_example=example,
            registered_model_name=model_name,
            serialization_format="skops",
            skops_trusted_types=TRUSTED_TYPES[version],
            pip_requirements=[f"{name}=={installed(name)}" for name in _SERVED_WITH],
            await_registration_for=30,
        )
        return {
            "run_id": run.info.run_id,
            "name": model_name,
            "version": int(info.registered_model_version),
            "cut_off": cut_off,
            "metrics": metrics,
        }


def main() -> None:
    """Command line: train and register version 1, 2 or both, in order; one JSON line for each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--version", type=int, choices=(1, 2), action="append", help="default: 1, then 2")
    parser.add_argument("--model-name", default=story.MODEL_NAME)
    parser.add_argument("--experiment", default=story.MODEL_NAME)
    options = parser.parse_args()
    if "MLFLOW_TRACKING_URI" not in os.environ:
        parser.error("MLFLOW_TRACKING_URI is not set; give the address of the MLflow server or portal (/mlflow)")
    # Integer columns cannot hold nulls; the signature has none (all doubles), the 0/1 output is not an input.
    warnings.filterwarnings("ignore", message=".*integer column.*")
    mlflow.set_experiment(options.experiment)
    windows = data.load_windows()
    for version in options.version or [1, 2]:
        print(json.dumps(register(version, model_name=options.model_name, windows=windows)), flush=True)


if __name__ == "__main__":
    main()
