"""Writes of monitoring, one verb each."""

from apps.monitoring.services.evaluation import Evaluation, evaluate_due, evaluate_monitor
from apps.monitoring.services.incidents import close_incident, open_incident
from apps.monitoring.services.labels import LabelReport, match_labels, match_waiting, record_labels
from apps.monitoring.services.monitors import create_monitor, retire_monitor

__all__ = [
    "Evaluation",
    "LabelReport",
    "close_incident",
    "create_monitor",
    "evaluate_due",
    "evaluate_monitor",
    "match_labels",
    "match_waiting",
    "open_incident",
    "record_labels",
    "retire_monitor",
]
