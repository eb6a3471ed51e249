"""Celery workers: control (with Django) and agent (without), and the message contract between them."""
