"""Posts to webhooks. The address is resolved once, looked at, and then called by number, so that a name cannot point elsewhere."""

import socket
import ssl
from urllib.parse import urlsplit

import httpx

from apps.notices import rules

TIMEOUT_S = 15.0
_READ_BYTES = 2_000


def post(url: str, *, body: str, headers: dict[str, str], loopback_allowed: bool) -> tuple[int | None, str, str]:
    """(status, beginning of the answer, what went wrong). Only 2xx is well; redirects are not followed."""
    if problem := rules.address_problem(url, loopback_allowed=loopback_allowed):
        return None, "", problem
    parts = urlsplit(url)
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None, "", f"The name {host} is not known."
    addresses = [str(row[4][0]) for row in found]
    good = [a for a in addresses if rules.callable_address(a, loopback_allowed=loopback_allowed)]
    if not good or len(good) != len(addresses):
        return None, "", f"{host} leads to an address that is not called ({addresses[0]})."
    target = f"[{good[0]}]" if ":" in good[0] else good[0]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with (
            httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as client,
            client.stream(
                "POST",
                f"{parts.scheme}://{target}:{port}{path}",
                content=body.encode(),
                headers=headers | {"Host": parts.netloc},
                # TLS checks the certificate against the name, not the number.
                extensions={"sni_hostname": host},
            ) as answer,
        ):
            said = b""
            for piece in answer.iter_raw(_READ_BYTES):
                said += piece
                if len(said) >= _READ_BYTES:
                    break
            text = said[:_READ_BYTES].decode("utf-8", "replace").replace("\x00", "")[: rules.ANSWER_CHARACTERS]
    except httpx.TimeoutException:
        return None, "", f"No answer within {TIMEOUT_S:.0f} s."
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
        return None, "", f"It cannot be reached ({type(error).__name__}: {error})."[:300]
    if 200 <= answer.status_code < 300:
        return answer.status_code, text, ""
    return answer.status_code, text, f"It answered {answer.status_code}."
