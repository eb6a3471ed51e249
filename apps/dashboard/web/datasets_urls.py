"""Addresses of the pages of datasets."""

from django.urls import path

from apps.dashboard.web import datasets

app_name = "datasets"
urlpatterns = [
    path("", datasets.datasets, name="datasets"),
    path("<uuid:dataset_id>/", datasets.dataset, name="dataset"),
]
