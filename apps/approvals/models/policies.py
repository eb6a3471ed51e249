"""Published gate policies."""

from typing import Any

from django.conf import settings
from django.db import models

from apps.approvals import policy_rules
from apps.core.actor import Function
from apps.core.models import BaseModel


def _words(needed: int, pool: dict[str, Any]) -> str:
    if "of" in pool:
        return f"{needed} of {pool['of']}"
    return f"{needed} of the {len(pool['people'])} named" if "people" in pool else str(needed)


class PolicyVersion(BaseModel):
    """One published version of a gate policy. Never changed: a gate keeps the version it began under."""

    name = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    tier = models.CharField(max_length=20, default="any")
    gate = models.CharField(max_length=30)
    body = models.JSONField()
    digest = models.CharField(max_length=80)
    published_at = models.DateTimeField()
    # The text as it was written, comments and all; empty for versions from before it was kept.
    text = models.TextField(blank=True, default="")
    note = models.TextField(blank=True, default="")
    # Who signed it. Null: it ships with the portal and was published by its installation.
    published_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="published_policies")
    printed_name = models.CharField(max_length=200, blank=True, default="")
    method = models.CharField(max_length=50, blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="approvals_policy_version_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def quorum(self) -> dict[str, int]:
        """Function -> how many of it sign, in the order functions are always named."""
        return {f.value: self.body["quorum"][f] for f in Function if f in self.body["quorum"]}

    @property
    def asked_of(self) -> list[tuple[str, str]]:
        """(function, how many of whom) in words: `1`, `2 of 3`, `2 of the 3 named`."""
        pools = self.body.get("pools", {})
        return [(f, _words(n, pools.get(f, {}))) for f, n in self.quorum.items()]

    @property
    def four_eyes(self) -> dict[str, bool]:
        """Who may not sign: `requester`, `authors`."""
        return policy_rules.four_eyes(self.body)

    @property
    def e_signature(self) -> bool:
        """Whether signing asks for credentials."""
        return bool(policy_rules.setting(self.body, "e_signature"))

    @property
    def overdue(self) -> dict[str, Any]:
        """What happens when signatures are late."""
        return policy_rules.overdue(self.body)

    @property
    def waiver_days(self) -> int:
        """The longest a waiver may last, days."""
        return int(policy_rules.setting(self.body, "waiver_days"))
