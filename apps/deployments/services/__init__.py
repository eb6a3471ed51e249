"""Writes of deployments, one verb each. Web writes what should be; control's tasks make it so."""

from apps.deployments.services.agent_keys import take_handover
from apps.deployments.services.endpoints import assign_key, create_endpoint, issue_key, revoke_key
from apps.deployments.services.hosts import register_host
from apps.deployments.services.key_rotation import finish_key_rotation, rotate_order_key
from apps.deployments.services.metering import meter_cost
from apps.deployments.services.reconciliation import reconcile
from apps.deployments.services.refusals import sum_up as sum_up_refusals
from apps.deployments.services.rehearsals import rehearse_rollback
from apps.deployments.services.reports import Receipt, acknowledgement, receive_report
from apps.deployments.services.requests import request_deployment, stop_deployment
from apps.deployments.services.rollouts import advance, roll_back
from apps.deployments.services.routing import confirm_routing, publish_routing
from apps.deployments.services.sweeping import remind_of_aliases, sweep
from apps.deployments.services.tallies import take_tally
from apps.deployments.services.work_orders import issue_load_order

__all__ = [
    "Receipt",
    "acknowledgement",
    "advance",
    "assign_key",
    "confirm_routing",
    "create_endpoint",
    "finish_key_rotation",
    "issue_key",
    "issue_load_order",
    "meter_cost",
    "publish_routing",
    "receive_report",
    "reconcile",
    "register_host",
    "rehearse_rollback",
    "remind_of_aliases",
    "request_deployment",
    "revoke_key",
    "roll_back",
    "rotate_order_key",
    "stop_deployment",
    "sum_up_refusals",
    "sweep",
    "take_handover",
    "take_tally",
]
