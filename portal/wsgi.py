"""The web process's entry point."""

import os
from importlib import import_module

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = get_wsgi_application()

# Loaded before the workers are forked: shared between them, and not paid for by the first request.
import_module(settings.ROOT_URLCONF)
