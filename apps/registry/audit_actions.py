"""What the registry writes in the trail."""

ACTIONS = {
    "registry.mlflow.written": "A write was sent to MLflow",
    "registry.mlflow.failed": "A write already recorded did not succeed in MLflow",
    "registry.mlflow.denied": "A write to MLflow was refused",
    "registry.experiment.created": "An experiment was made through the portal",
    "registry.model.created": "A model was registered",
    "registry.version.created": "A model version was registered",
    "registry.version.synced": "What MLflow says of a model version was recorded",
    "registry.version.changed": "A model version's files differ from what was recorded",
    "registry.version.restored": "A model version's files are again what was recorded",
    "registry.sync.requested": "A fresh reading of a model version was asked for",
    "registry.card.saved": "A model card was saved",
    "registry.failure_mode.recorded": "A known failure mode of a model was written down",
    "registry.failure_mode.changed": "A known failure mode of a model was changed",
    "registry.evaluation.attached": "An evaluation or bias audit was attached to a model version",
    "registry.alias.moved": "An alias was pointed at a model version",
    "registry.alias.removed": "An alias was removed",
    "registry.artifact.downloaded": "A serving host downloaded a model version",
}
