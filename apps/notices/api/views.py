"""REST door of notices."""

from typing import Any

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import actor_of
from apps.core.doors import durable
from apps.core.forms import given
from apps.core.rest import ListView, View, operation
from apps.notices import selectors, services
from apps.notices.api.serializers import (
    ChangedWebhookSerializer,
    DeliverySerializer,
    MailChoiceSerializer,
    MineSerializer,
    NewWebhookSerializer,
    WebhookSerializer,
    WebhookWithKeySerializer,
)
from apps.notices.models import Delivery, Webhook


class WebhooksView(ListView):
    """Addresses that are told of events."""

    lists = "List the addresses that are told of events."
    serializer_class = WebhookSerializer

    def get_queryset(self) -> Any:
        """All, ended ones too."""
        return selectors.webhooks(actor_of(self.request)) if self.request else Webhook.objects.none()

    @operation(request=NewWebhookSerializer, responses={201: WebhookWithKeySerializer})
    @durable
    def post(self, request: Request) -> Response:
        """Add a webhook (administrators); its signing key is in this answer only."""
        row, key = services.add_webhook(actor=actor_of(request), **given(NewWebhookSerializer, request))
        return Response(WebhookSerializer(row).data | {"signing_key": key}, status=status.HTTP_201_CREATED)


class WebhookView(View):
    """One webhook."""

    @operation(responses=WebhookSerializer)
    def get(self, request: Request, webhook_id: str) -> Response:
        """How it is set up and how it does."""
        return Response(WebhookSerializer(selectors.webhook(actor_of(request), webhook_id)).data)

    @operation(request=ChangedWebhookSerializer, responses=WebhookSerializer)
    @durable
    def patch(self, request: Request, webhook_id: str) -> Response:
        """Change name, address or events."""
        row = services.change_webhook(actor=actor_of(request), webhook_id=webhook_id, **given(ChangedWebhookSerializer, request))
        return Response(WebhookSerializer(row).data)

    @operation(responses=WebhookSerializer)
    @durable
    def delete(self, request: Request, webhook_id: str) -> Response:
        """End it; what it was told stays readable."""
        return Response(WebhookSerializer(services.end_webhook(actor=actor_of(request), webhook_id=webhook_id)).data)


class RotateView(View):
    """The signing key of a webhook."""

    @operation(responses=WebhookWithKeySerializer)
    @durable
    def post(self, request: Request, webhook_id: str) -> Response:
        """Replace it; for 24 hours the old one signs too."""
        row, key = services.rotate_key(actor=actor_of(request), webhook_id=webhook_id)
        return Response(WebhookSerializer(row).data | {"signing_key": key})


class TestView(View):
    """Trying a webhook."""

    @operation(responses={202: DeliverySerializer})
    @durable
    def post(self, request: Request, webhook_id: str) -> Response:
        """Send it a `webhook.test`."""
        return Response(DeliverySerializer(services.test_webhook(actor=actor_of(request), webhook_id=webhook_id)).data, status=202)


class DeliveriesView(ListView):
    """What a webhook was told, with every try."""

    lists = "List what a webhook was told, with every try."
    serializer_class = DeliverySerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        return selectors.deliveries(actor_of(self.request), self.kwargs["webhook_id"]) if self.request else Delivery.objects.none()


class RedeliverView(View):
    """One delivery."""

    @operation(responses={202: DeliverySerializer})
    @durable
    def post(self, request: Request, delivery_id: str) -> Response:
        """Try it again from the start."""
        return Response(DeliverySerializer(services.redeliver(actor=actor_of(request), delivery_id=delivery_id)).data, status=202)


class MineView(ListView):
    """What I was told."""

    lists = "List what you were told."
    serializer_class = MineSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        return selectors.mine(actor_of(self.request)) if self.request else Delivery.objects.none()


class MailView(View):
    """Notices by email."""

    @operation(responses=MailChoiceSerializer)
    def get(self, request: Request) -> Response:
        """Read whether notices come to you by email too."""
        return Response({"wanted": selectors.wants_mail(actor_of(request).user_id)})

    @operation(request=MailChoiceSerializer, responses=MailChoiceSerializer)
    @durable
    def put(self, request: Request) -> Response:
        """Choose whether notices come to you by email too."""
        services.choose_mail(actor=actor_of(request), **given(MailChoiceSerializer, request))
        return Response({"wanted": selectors.wants_mail(actor_of(request).user_id)})
