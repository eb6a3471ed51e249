"""The host side: one agent on every serving host. No Django, no database, nothing of the portal."""

AGENT_VERSION = "0.1.0"
