"""Tables as CSV files: the same for every app's pages."""

from apps.core.exports import cell, download

__all__ = ["cell", "download"]
