"""Writes of use cases: what they say (describe), where they stand (stages), and whom production serves (phases)."""

from apps.usecases.services.access import open_to_functions, take_access
from apps.usecases.services.describe import (
    add_integration,
    create_usecase,
    give_access,
    link_model,
    set_requirements,
    update_usecase,
)
from apps.usecases.services.phases import change_phase, close_phase, close_phase_of, drop_phase, open_phase, plan_phase
from apps.usecases.services.stages import fall_back, promote, put_on_hold, resume, stop, stop_by_gate
from apps.usecases.services.successors import succeed
from apps.usecases.services.tiers import ask_tier, sign_tier

__all__ = [
    "add_integration",
    "ask_tier",
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
    "sign_tier",
    "stop",
    "stop_by_gate",
    "succeed",
    "take_access",
    "update_usecase",
]
