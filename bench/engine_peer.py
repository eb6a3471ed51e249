"""The peer of `bench/engine.py`: the same model behind KServe's ModelServer in the ordinary way, by MLflow's pyfunc.

Named columns become a pandas DataFrame, `mlflow.pyfunc` checks it against the signature and predicts. gRPC, the access
log and latency logging are off, as in the engine that it is compared with.
"""

import logging
import sys
import uuid

folder, port = sys.argv[1], int(sys.argv[2])
sys.argv = sys.argv[:1]

import mlflow.pyfunc  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402


class PyfuncModel(Model):
    def load(self) -> bool:
        self.model = mlflow.pyfunc.load_model(folder)
        self.ready = True
        return True

    def predict(self, payload: InferRequest, headers: dict | None = None) -> InferResponse:
        values = np.asarray(self.model.predict(pd.DataFrame({column.name: column.data for column in payload.inputs})))
        output = InferOutput("prediction", list(values.shape), "INT64", values.tolist())
        return InferResponse(response_id=payload.id or str(uuid.uuid4()), model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    model = PyfuncModel("bench")
    model.load()
    server = ModelServer(http_port=port, enable_grpc=False, enable_latency_logging=False, workers=1)
    for name in ("uvicorn.access", "kserve.trace", "kserve"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server.start([model])
