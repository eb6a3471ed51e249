"""What a gate policy is: its fields, their defaults, and when it is sound. Pure. The schema is docs/reference/gate-policy.md."""

from apps.approvals.policy_rules.compare import DiffLine, as_text, compared, same_but_version, with_version
from apps.approvals.policy_rules.reading import check_staffed, digest, read, short_of
from apps.approvals.policy_rules.schema import (
    DEFAULTS,
    FIELDS,
    GATES,
    ITEM_OWNERS,
    NEEDS_CHECKS,
    OVERDUE_WAYS,
    TIERS,
    four_eyes,
    in_pool,
    overdue,
    setting,
)

__all__ = [
    "DEFAULTS",
    "FIELDS",
    "GATES",
    "ITEM_OWNERS",
    "NEEDS_CHECKS",
    "OVERDUE_WAYS",
    "TIERS",
    "DiffLine",
    "as_text",
    "check_staffed",
    "compared",
    "digest",
    "four_eyes",
    "in_pool",
    "overdue",
    "read",
    "same_but_version",
    "setting",
    "short_of",
    "with_version",
]  # fmt: skip
