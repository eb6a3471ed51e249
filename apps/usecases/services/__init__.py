"""Writes of use cases: what they say (describe), where they stand (stages), and whom production serves (phases)."""

from apps.usecases.services.access import take_access
from apps.usecases.services.describe import (
    add_integration,
    create_usecase,
    give_access,
    link_model,
    open_to_functions,
    set_requirements,
    update_usecase,
)
from apps.usecases.services.phases import change_phase, close_phase, close_phase_of, drop_phase, open_phase, plan_phase
from apps.usecases.services.stages import fall_back, promote, put_on_hold, resume, stop, stop_by_gate
from apps.usecases.services.successors import succeed

__all__ = [
    "add_integration",
    "change_phase",
    "close_phase",
    "close_phase_of",
    "create_usecase",
    "drop_phase",
    "fall_back",
    "give_access",
    "link_model",
    "open_phase",
    "open_to_functions",
    "plan_phase",
    "promote",
    "put_on_hold",
    "resume",
    "set_requirements",
    "stop",
    "stop_by_gate",
    "succeed",
    "take_access",
    "update_usecase",
]
