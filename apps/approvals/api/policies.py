"""REST door of gate policies."""

from typing import Any

from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.approvals import doors, policy_rules, selectors, services
from apps.approvals.api.serializers import NewPolicySerializer, PolicyBodySerializer, PolicySerializer, PolicyTextSerializer
from apps.approvals.models import PolicyVersion
from apps.core.api import actor_of
from apps.core.forms import given
from apps.core.rest import Filter, ListView, View, operation


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class PoliciesView(ListView):
    """Published gate policies, and publishing one."""

    lists = "List the published gate policies, newest first."
    filters = {"gate": Filter("Only policies of this gate.", choices=policy_rules.GATES)}

    serializer_class = PolicySerializer

    def get_queryset(self) -> Any:
        """Newest first, filtered by `?gate=`."""
        if getattr(self, "swagger_fake_view", False):
            return PolicyVersion.objects.none()
        gate = self.request.query_params.get("gate")
        return selectors.policies().filter(gate=gate) if gate else selectors.policies()

    @operation(request=NewPolicySerializer, responses={200: PolicySerializer, 201: PolicySerializer}, refuses=(409, 429))
    def post(self, request: Request) -> Response:
        """Publish a version of a gate policy from YAML, signing it with your password (policy owners).

        200 when exactly this is published already. Gates under way keep the version they began under.
        """
        policy, new = doors.publish(actor=actor_of(request), **given(NewPolicySerializer, request))
        return Response(PolicySerializer(policy).data, status=status.HTTP_201_CREATED if new else status.HTTP_200_OK)


class PolicyCheckView(View):
    """Trying a text."""

    @operation(request=PolicyTextSerializer, responses=PolicyBodySerializer)
    def post(self, request: Request) -> Response:
        """Check the text of a policy without publishing it; a refusal names field and line."""
        text = given(PolicyTextSerializer, request)["text"]
        body = services.check_policy(text=text)
        there, lines = selectors.replaced_by(body, text)
        return Response(
            {
                "body": body, "digest": policy_rules.digest(body), "replaces": str(there) if there else None,
                "changes": policy_rules.as_text(lines), "open_gates": selectors.gates_under(body["gate"], body["tier"]).count(),
            }
        )  # fmt: skip


class PolicyView(View):
    """One policy version."""

    @operation(responses=PolicySerializer)
    def get(self, request: Request, policy_id: Any) -> Response:
        """Read one published policy version, its text included."""
        actor_of(request)
        return Response(PolicySerializer(selectors.policy(policy_id)).data)
