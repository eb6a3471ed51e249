"""Email through Django's configured backend (console in the demo, SMTP in production)."""

import smtplib

from django.conf import settings
from django.core.mail import EmailMessage


def send(*, to: str, title: str, text: str, url: str) -> str:
    """Send one message; returns what went wrong, "" when the server took it."""
    body = f"{text}\n\n{url}\n\n--\nYou get this from Gatehouse. Choose on your notices page whether it comes by email.\n".lstrip("\n")
    # A line break in a subject would be a header of the attacker's choice; Django refuses it, so it is taken out.
    subject = " ".join(f"[Gatehouse] {title}".split())
    try:
        EmailMessage(subject=subject, body=body, from_email=settings.DEFAULT_FROM_EMAIL, to=[to]).send()
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return f"The mail server did not take it ({type(error).__name__}: {error})."[:300]
    return ""
