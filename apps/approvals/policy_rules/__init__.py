"""What a gate policy is: its fields, their defaults, and when it is sound. Pure. The schema is docs/reference/gate-policy.md."""

from apps.approvals.policy_rules.reading import digest, read
from apps.approvals.policy_rules.schema import (
    DEFAULTS,
    FIELDS,
    GATES,
    ITEM_OWNERS,
    NEEDS_CHECKS,
    OVERDUE_WAYS,
    TIERS,
    four_eyes,
    overdue,
    setting,
)

__all__ = [
    "DEFAULTS", "FIELDS", "GATES", "ITEM_OWNERS", "NEEDS_CHECKS", "OVERDUE_WAYS", "TIERS", "digest", "four_eyes", "overdue", "read", "setting",
]  # fmt: skip
