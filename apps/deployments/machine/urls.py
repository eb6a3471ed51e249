"""Addresses for machines: what gateways poll."""

from django.urls import path

from apps.deployments.machine import views

urlpatterns = [path("internal/routing/", views.routing)]
