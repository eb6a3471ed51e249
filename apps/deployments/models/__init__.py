"""Hosts, endpoints, what should run on them, what was ordered, what was reported, and where traffic goes."""

from apps.deployments.models.hosts import Host, HostQuerySet
from apps.deployments.models.orders import AgentReport, RefusalTally, WorkOrder
from apps.deployments.models.rollouts import RollbackRehearsal, Rollout, TrafficShift
from apps.deployments.models.routing import GatewayState, PhaseTally, RoutingSnapshot
from apps.deployments.models.serving import (
    Deployment,
    Endpoint,
    EndpointKey,
    EndpointQuerySet,
    EngineStart,
    OfEndpointQuerySet,
)

__all__ = [
    "AgentReport",
    "Deployment",
    "Endpoint",
    "EndpointKey",
    "EndpointQuerySet",
    "EngineStart",
    "GatewayState",
    "Host",
    "HostQuerySet",
    "OfEndpointQuerySet",
    "PhaseTally",
    "RefusalTally",
    "RollbackRehearsal",
    "Rollout",
    "RoutingSnapshot",
    "TrafficShift",
    "WorkOrder",
]
