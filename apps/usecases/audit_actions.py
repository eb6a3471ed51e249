"""What use cases write in the trail."""

ACTIONS = {
    "usecases.usecase.created": "A use case was written down",
    "usecases.usecase.succeeded": "A use case was begun anew as the successor of another",
    "usecases.usecase.changed": "A use case's description was changed",
    "usecases.requirements.set": "The non-functional requirements were set",
    "usecases.integration.added": "An integration point was added",
    "usecases.model.linked": "A registered model was linked",
    "usecases.access.given": "A person was given access",
    "usecases.access.taken": "A person's access was taken away",
    "usecases.access.opened": "Approvers of a function were given sight of the use case",
    "usecases.stage.promoted": "The use case moved forward by a decision",
    "usecases.stage.fell_back": "The use case went back from production to pilot",
    "usecases.stage.held": "The use case was put on hold",
    "usecases.stage.resumed": "The use case was taken off hold",
    "usecases.stage.stopped": "The use case was stopped, with its lesson",
    "usecases.phase.planned": "A rollout phase was planned",
    "usecases.phase.changed": "A rollout phase was changed",
    "usecases.phase.dropped": "A rollout phase that was never opened was taken out of the plan",
    "usecases.phase.opened": "A rollout phase was opened by a decision",
    "usecases.phase.closed": "A rollout phase was closed, and its decision revoked",
}
