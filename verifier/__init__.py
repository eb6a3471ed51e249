"""Verifies Gatehouse's audit trail without trusting Gatehouse: needs Python, `cryptography`, and `psycopg` for a live database."""
