"""Pages of notices."""

from django.urls import path

from apps.notices.web import views

app_name = "notices"
urlpatterns = [
    path("notices/", views.mine, name="mine"),
    path("notices/by-email/", views.by_email, name="by-email"),
    path("webhooks/", views.webhooks, name="webhooks"),
    path("webhooks/<uuid:webhook_id>/", views.webhook, name="webhook"),
    path("webhooks/<uuid:webhook_id>/change/", views.change, name="change"),
    path("webhooks/<uuid:webhook_id>/rotate-key/", views.rotate, name="rotate"),
    path("webhooks/<uuid:webhook_id>/test/", views.test, name="test"),
    path("webhooks/<uuid:webhook_id>/end/", views.end, name="end"),
    path("webhooks/deliveries/<uuid:delivery_id>/redeliver/", views.redeliver, name="redeliver"),
]
