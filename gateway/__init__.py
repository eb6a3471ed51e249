"""The inference data plane: authenticates, limits, routes, captures. No Django, no database."""

__version__ = "0.1.0"
