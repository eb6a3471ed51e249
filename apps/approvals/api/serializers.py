"""Gates, policies and decisions in JSON."""

from typing import Any

from rest_framework import serializers

from apps.approvals import rules
from apps.approvals.models import Attestation, Gate, PolicyVersion, Signature
from apps.approvals.selectors import GatePage
from apps.core.actor import Function
from apps.core.errors import Invalid
from apps.decisions import selectors as decisions
from apps.decisions.models import Decision


class PolicySerializer(serializers.ModelSerializer):
    """A published policy version; `body` is what it asks."""

    class Meta:
        model = PolicyVersion
        fields = [
            "id", "name", "version", "gate", "tier", "body", "digest", "published_at", "text", "note", "printed_name", "method",
        ]  # fmt: skip


class PolicyTextSerializer(serializers.Serializer):
    """A policy as YAML text."""

    text = serializers.CharField(max_length=200_000, trim_whitespace=False)


class PolicyBodySerializer(serializers.Serializer):
    """What a text would publish."""

    body = serializers.DictField()
    digest = serializers.CharField()
    replaces = serializers.CharField(allow_null=True, help_text="the policy in force for this gate and tier")
    changes = serializers.CharField(help_text="what changes against its text, in the manner of diff -u; empty when nothing does")
    open_gates = serializers.IntegerField(help_text="gates under way that would follow it had they begun later")


class NewPolicySerializer(PolicyTextSerializer):
    """A policy as YAML text, why it changes, and the policy owner's password, which is verified in this very call."""

    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=5_000)
    password = serializers.CharField(max_length=200, write_only=True, trim_whitespace=False)
    code = serializers.CharField(
        max_length=40,
        write_only=True,
        required=False,
        default="",
        allow_blank=True,
        help_text="Of the signer's generator, where one is set up.",
    )


class GateSerializer(serializers.ModelSerializer):
    """A gate in a list."""

    usecase = serializers.SerializerMethodField()
    policy = serializers.CharField(source="policy.__str__", read_only=True)
    model_version = serializers.SerializerMethodField()
    opened_by = serializers.EmailField(source="opened_by.email", read_only=True)
    requested_by = serializers.SerializerMethodField()
    phase = serializers.SerializerMethodField()
    quorum = serializers.SerializerMethodField()
    wanted = serializers.SerializerMethodField()
    evidence_changes = serializers.SerializerMethodField()

    class Meta:
        model = Gate
        fields = [
            "id", "usecase", "kind", "from_stage", "to_stage", "environment", "model_version", "phase", "policy", "state", "note", "opened_by",
            "requested_by", "requested_at", "due_at", "frozen_at", "evidence_digest", "evidence_changes", "quorum", "wanted", "decided_at",
            "decision_id", "created_at",
        ]  # fmt: skip

    def get_usecase(self, gate: Gate) -> dict[str, str]:
        """Id, slug and name."""
        return {"id": str(gate.usecase_id), "slug": gate.usecase.slug, "name": gate.usecase.name, "stage": gate.usecase.stage}

    def get_model_version(self, gate: Gate) -> dict[str, str] | None:
        """Id, label and digest, or null."""
        version = gate.model_version
        return {"id": str(version.id), "label": version.label, "artifact_digest": version.artifact_digest} if version else None

    def get_phase(self, gate: Gate) -> dict[str, str] | None:
        """Id and name of the rollout phase it is to open, or null."""
        return {"id": str(gate.phase_id), "name": gate.phase.name} if gate.phase else None

    def get_requested_by(self, gate: Gate) -> str | None:
        """Address of the requester."""
        return gate.requested_by.email if gate.requested_by else None

    def get_quorum(self, gate: Gate) -> dict[str, int]:
        """Function -> signatures asked for."""
        return gate.policy.quorum

    def get_evidence_changes(self, gate: Gate) -> dict[str, Any] | None:
        """How much of the frozen evidence reads otherwise by now: {count, first, since, checked_at}, as the portal last saw; null unless open."""
        watch = getattr(gate, "watch", None) if gate.state == Gate.State.OPEN else None
        return {"count": watch.changes, "first": watch.first, "since": watch.changed_at, "checked_at": watch.checked_at} if watch else None

    def get_wanted(self, gate: Gate) -> dict[str, int]:
        """Function -> signatures still wanted."""
        valid = getattr(gate, "valid_signatures", None)
        if valid is None:
            valid = [s for s in gate.signatures.all() if s.void_at is None]
        return rules.still_wanted(gate.policy.quorum, [s.function for s in valid if s.meaning == "approved"])


class SignatureSerializer(serializers.ModelSerializer):
    """A signature as it is shown and printed."""

    class Meta:
        model = Signature
        fields = [
            "id", "printed_name", "on_behalf_of_name", "function", "meaning", "comment", "would_change", "method", "signed_at", "evidence_digest", "void_at",
            "void_reason",
        ]  # fmt: skip


class SeatSerializer(serializers.Serializer):
    """One function of the quorum."""

    function = serializers.CharField()
    needed = serializers.IntegerField()
    wanted = serializers.IntegerField()
    signatures = SignatureSerializer(many=True)
    of = serializers.IntegerField(help_text="people who approve for it, or whom the policy names")
    named = serializers.BooleanField(help_text="the policy names them")
    may_sign = serializers.ListField(child=serializers.CharField(), help_text="names of those who may still sign, delegates aside")


class CheckRowSerializer(serializers.Serializer):
    """What one check found."""

    check = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=["pass", "fail", "missing"])
    found = serializers.CharField()
    asked = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    source_digest = serializers.CharField()
    figure = serializers.FloatField(allow_null=True)
    threshold = serializers.FloatField(allow_null=True)
    detail = serializers.CharField()
    heading = serializers.CharField(required=False)
    owner = serializers.CharField(required=False)
    waiver = serializers.DictField(required=False)


class AttestedItemSerializer(serializers.Serializer):
    """One attested item; `answer` is empty before somebody answered."""

    item = serializers.CharField()
    text = serializers.CharField()
    owner = serializers.CharField()
    answer = serializers.CharField(allow_blank=True)
    note = serializers.CharField(allow_blank=True)
    by = serializers.CharField(allow_blank=True)
    at = serializers.CharField(allow_null=True)
    heading = serializers.CharField(required=False)
    waiver = serializers.DictField(required=False)


class NewsSerializer(serializers.Serializer):
    """One thing that is new since the caller last looked; `at` is null for what was found by comparing the evidence."""

    kind = serializers.CharField()
    text = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)


class GatePageSerializer(GateSerializer):
    """One gate with evidence, signatures and what the caller may do. See selectors.GatePage."""

    question = serializers.CharField(read_only=True)
    evidence = CheckRowSerializer(many=True, read_only=True)
    attestations = AttestedItemSerializer(many=True, read_only=True)
    passing = serializers.IntegerField(read_only=True)
    open_points = serializers.DictField(child=serializers.CharField(), read_only=True)
    signatures = SeatSerializer(many=True, read_only=True)
    voided = SignatureSerializer(many=True, read_only=True)
    refusals = SignatureSerializer(many=True, read_only=True)
    abstained = SignatureSerializer(many=True, read_only=True)
    changes = serializers.ListField(child=serializers.DictField(), read_only=True)
    looked_at = serializers.DateTimeField(allow_null=True, read_only=True)
    news = NewsSerializer(many=True, read_only=True)
    me = serializers.DictField(read_only=True)

    class Meta(GateSerializer.Meta):
        fields = [
            *GateSerializer.Meta.fields, "question", "evidence", "attestations", "passing", "open_points", "signatures", "voided",
            "refusals", "abstained", "changes", "looked_at", "news", "me",
        ]  # fmt: skip


def page_json(page: GatePage) -> dict[str, Any]:
    """A gate page as JSON; evidence rows keep every field of the frozen document."""
    return dict(GateSerializer(page.gate).data) | {
        "question": page.question,
        "evidence": page.evidence,
        "attestations": page.attestations,
        "passing": page.passing,
        "open_points": page.open_points,
        "signatures": SeatSerializer(page.seats, many=True).data,
        "voided": SignatureSerializer(page.voided, many=True).data,
        "refusals": SignatureSerializer(page.refusals, many=True).data,
        "abstained": SignatureSerializer(page.abstained, many=True).data,
        "changes": page.changes,
        "looked_at": page.look.looked_at if page.look else None,
        "news": NewsSerializer(page.news, many=True).data,
        "me": {
            "may_sign_as": page.my_functions, "why_not": page.why_not, "may_attest": page.my_items, "may_request": page.may_request,
            "may_withdraw": page.may_withdraw,
            "stands_in_for": [{"id": str(d.delegator_id), "name": str(d.delegator), "function": d.function} for d in page.standing_in],
        },
    }  # fmt: skip


class OpenGateSerializer(serializers.Serializer):
    """A gate of a use case (id or slug): to a stage, with `model_version` as an id or `name/3` where one is to run; or to a `phase`."""

    usecase = serializers.CharField()
    to_stage = serializers.CharField(required=False, allow_blank=True, default="", help_text="needed unless `phase` is given")
    phase = serializers.UUIDField(required=False, allow_null=True, default=None, help_text="id of a rollout phase, instead of `to_stage`")
    model_version = serializers.CharField(required=False, allow_null=True)
    note = serializers.CharField(required=False, allow_blank=True, default="")

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        """Either a stage or a phase."""
        if bool(data["to_stage"]) == bool(data["phase"]):
            raise Invalid("to_stage: give the stage it leads to, or a phase.", errors={"to_stage": ["Give this or phase."]})
        return data


class AnswerSerializer(serializers.Serializer):
    """An answer to one item, in words."""

    item = serializers.CharField(max_length=100)
    answer = serializers.ChoiceField(choices=rules.ANSWERS)
    note = serializers.CharField()


class AttestationSerializer(serializers.ModelSerializer):
    """An answer as it was given."""

    by = serializers.EmailField(source="by.email")

    class Meta:
        model = Attestation
        fields = ["id", "item", "answer", "note", "by", "at", "superseded_at"]


class SignSerializer(serializers.Serializer):
    """A signature: over `evidence_digest`, with the signer's password, which is verified in this very call.

    `rejected` needs `comment` (why) and `would_change`; `abstain` a comment; for business, `stopped` (comment: the lesson; ends the use
    case) and `rebuild` (comment: why; a linked successor begins at proof of concept).
    """

    function = serializers.ChoiceField(choices=[f.value for f in Function])
    meaning = serializers.ChoiceField(choices=rules.MEANINGS)
    comment = serializers.CharField(required=False, allow_blank=True, default="")
    would_change = serializers.CharField(required=False, allow_blank=True, default="")
    on_behalf_of = serializers.UUIDField(
        required=False,
        allow_null=True,
        default=None,
        help_text="the approver who delegated the function to you; see GET /api/v1/delegations/",
    )
    evidence_digest = serializers.CharField(max_length=80)
    password = serializers.CharField(
        max_length=200, write_only=True, trim_whitespace=False, required=False, allow_blank=True, default="",
        help_text="left out only where the policy says e_signature: false",
    )  # fmt: skip
    code = serializers.CharField(
        max_length=40,
        write_only=True,
        required=False,
        default="",
        allow_blank=True,
        help_text="Of the signer's generator, where one is set up.",
    )


class WithdrawSerializer(serializers.Serializer):
    """Why, in words."""

    reason = serializers.CharField(required=False, allow_blank=True, default="")


class DecisionSerializer(serializers.ModelSerializer):
    """A decision; `live` says whether it holds now, `why_not_live` else why not."""

    live = serializers.SerializerMethodField()
    why_not_live = serializers.SerializerMethodField()
    revoked_at = serializers.SerializerMethodField()

    class Meta:
        model = Decision
        fields = [
            "id", "kind", "usecase_id", "environment", "stage_to", "phase_id", "phase_name", "model_version_id", "model_version_label", "artifact_digest", "gate_id",
            "evidence_digest", "issued_at", "expires_at", "issued_to", "live", "why_not_live", "revoked_at",
        ]  # fmt: skip

    def get_live(self, decision: Decision) -> bool:
        """Whether it holds now."""
        return not decisions.state_of(decision)

    def get_why_not_live(self, decision: Decision) -> str:
        """Empty while it holds."""
        return decisions.state_of(decision)

    def get_revoked_at(self, decision: Decision) -> Any:
        """When it was revoked, or null."""
        revocation = getattr(decision, "revocation", None)
        return revocation.revoked_at if revocation else None


class RevokeSerializer(serializers.Serializer):
    """Why, in words."""

    reason = serializers.CharField()
