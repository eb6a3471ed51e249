"""REST addresses of notices, below /api/v1/."""

from django.urls import path

from apps.notices.api import views

urlpatterns = [
    path("webhooks/", views.WebhooksView.as_view()),
    path("webhooks/<uuid:webhook_id>/", views.WebhookView.as_view()),
    path("webhooks/<uuid:webhook_id>/rotate-key/", views.RotateView.as_view()),
    path("webhooks/<uuid:webhook_id>/test/", views.TestView.as_view()),
    path("webhooks/<uuid:webhook_id>/deliveries/", views.DeliveriesView.as_view()),
    path("deliveries/<uuid:delivery_id>/redeliver/", views.RedeliverView.as_view()),
    path("notices/", views.MineView.as_view()),
    path("notices/by-email/", views.MailView.as_view()),
]
