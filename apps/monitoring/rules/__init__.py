"""What monitors hold to be true. Pure: settings.py what a monitor may be told, drift.py inputs, costs.py outcomes."""
