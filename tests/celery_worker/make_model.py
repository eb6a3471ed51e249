"""Train and save a small scikit-learn model as MLflow does by default (skops). Run by the engine's interpreter."""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import mlflow.sklearn  # noqa: E402
from mlflow.models import infer_signature  # noqa: E402
from sklearn.datasets import load_breast_cancer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402


def main(folder: str, row_file: str | None = None) -> None:
    data = load_breast_cancer(as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(data.data, data.target)
    signature = infer_signature(data.data, model.predict(data.data))
    # Requirements are named so that MLflow need not load the model in another process to infer them.
    mlflow.sklearn.save_model(model, folder, signature=signature, pip_requirements=["scikit-learn"])
    if row_file is not None:
        Path(row_file).write_text(json.dumps(data.data.iloc[0].to_dict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
