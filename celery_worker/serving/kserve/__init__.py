"""The program that runs inside the KServe engine's own environment. Imports nothing of the portal."""
