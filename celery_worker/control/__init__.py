"""The control plane's Celery side: relay, schedule, and tasks that each call one service."""
