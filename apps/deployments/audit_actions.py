"""What deployments writes in the trail."""

ACTIONS = {
    "deployments.host.registered": "A serving host and its public key were registered",
    "deployments.host.key_replaced": "A serving host was given another public key",
    "deployments.endpoint.created": "An endpoint was created",
    "deployments.key.issued": "A caller's key of an endpoint was issued",
    "deployments.key.revoked": "A caller's key of an endpoint was revoked",
    "deployments.deployment.requested": "A model version was asked to be deployed",
    "deployments.deployment.ready": "A deployed model version became ready",
    "deployments.deployment.failed": "A deployed model version could not be started",
    "deployments.deployment.stopped": "A deployment was asked to stop",
    "deployments.deployment.withdrawn": "A deployment was stopped because its decision was revoked",
    "deployments.order.issued": "A signed work order was issued to a host",
    "deployments.order.refused": "A host refused a work order",
    "deployments.report.refused": "A report that no registered host signed for itself was refused",
    "deployments.rollout.stepped": "A rollout moved traffic to its next step",
    "deployments.rollout.completed": "A rollout was completed",
    "deployments.rollout.rolled_back": "Traffic was taken back to the version before",
    "deployments.rollout.failed": "A rollout ended without moving traffic",
    "deployments.rehearsal.started": "A rollback was begun for practice",
    "deployments.rehearsal.finished": "A practised rollback ended, with the seconds it took",
    "deployments.routing.published": "The gateways were given new routes",
}
