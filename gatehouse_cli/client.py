"""The REST client for pipelines: `./gatehouse usecase|model|deploy|gate|phase|waiver|delegation|endpoint|audit|asof|api ...`. Standard library only.

GATEHOUSE_URL names the portal, GATEHOUSE_TOKEN holds the API token. The answer goes to standard output as JSON, a refusal
(RFC 9457 problem) to standard error. Exit codes: 0 done; 1 refused, or what was waited for ended badly; 2 wrong arguments;
3 not signed in or not allowed; 4 there is no such thing, or it may not be seen; 5 conflict; 6 the portal cannot be
reached or failed; 7 it was not decided in time.
"""

import http.client
import ipaddress
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

DONE, REFUSED, USAGE, NOT_ALLOWED, NOT_FOUND, CONFLICT, UNREACHABLE, TOO_LATE = range(8)
_CODES = {401: NOT_ALLOWED, 403: NOT_ALLOWED, 404: NOT_FOUND, 409: CONFLICT, 412: CONFLICT}
_ATTEMPTS = 4


class ClientError(Exception):
    """Ends the command: an exit code and what goes to standard error as JSON."""

    def __init__(self, code: int, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail", ""))
        self.code, self.problem = code, problem


def refuse(code: int, detail: str) -> NoReturn:
    """End the command with a sentence."""
    raise ClientError(code, {"title": "gatehouse", "detail": detail})


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the token to another host."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        """Follow none."""
        return


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Client:
    """One portal, one token."""

    def __init__(self, url: str, token: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            refuse(USAGE, f"GATEHOUSE_URL is {url!r}; give http(s)://HOST[:PORT] of the portal.")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            refuse(USAGE, f"GATEHOUSE_URL is {url!r}: the token would travel unencrypted. Use https:// (http only to this machine).")
        self._base, self._token = url.rstrip("/"), token
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects(), urllib.request.HTTPSHandler(context=ssl.create_default_context())]
        if _is_loopback(parts.hostname):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    @classmethod
    def from_environment(cls) -> "Client":
        """From GATEHOUSE_URL and GATEHOUSE_TOKEN; exits with 2 when one is missing."""
        url, token = os.environ.get("GATEHOUSE_URL", ""), os.environ.get("GATEHOUSE_TOKEN", "")
        if not url:
            refuse(USAGE, "GATEHOUSE_URL is not set: the portal's address, such as https://gatehouse.example.org.")
        if not token:
            refuse(USAGE, "GATEHOUSE_TOKEN is not set: an API token from your account page.")
        return cls(url, token)

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None, query: dict[str, Any] | None = None) -> Any:
        """One call of the API; returns the decoded answer (None for an empty one).

        `path` is below /api/v1/, or an absolute `next` link of this portal. What cannot be reached or answers 503 is tried
        again; a post that may already have begun (the connection broke, 502, 504) only when the caller gave the `key` by
        which the portal knows it again.
        """
        raw, kind = self._send(method, self._url(path, query), body, key)
        if not raw:
            return None
        if "json" not in kind:
            return raw
        return json.loads(raw)

    def _url(self, path: str, query: dict[str, Any] | None) -> str:
        if path.startswith(("http://", "https://")):
            if not path.startswith(self._base + "/"):
                refuse(UNREACHABLE, "the portal's answer links to another host; GATEHOUSE_URL must be the portal's own address.")
            return path
        given = {name: value for name, value in (query or {}).items() if value is not None}
        text = f"{self._base}/api/v1/{path.lstrip('/')}"
        return text + (("&" if "?" in text else "?") + urllib.parse.urlencode(given) if given else "")

    def _send(self, method: str, url: str, body: Any, key: str | None) -> tuple[bytes, str]:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json, */*;q=0.5"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        if method == "POST":
            headers["Idempotency-Key"] = key or str(uuid.uuid4())
        repeatable = method != "POST" or key is not None
        last = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(0.5 * 2**attempt)
            request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - scheme checked above
            try:
                with self._opener.open(request, timeout=60) as answer:
                    return answer.read(), answer.headers.get("Content-Type", "")
            except urllib.error.HTTPError as error:
                if error.code == 503 or (error.code in {502, 504} and repeatable):
                    last = f"HTTP {error.code}"
                    continue
                self._refused(error)
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                last = str(reason)
                if not (repeatable or isinstance(reason, ConnectionRefusedError)):
                    break
        refuse(UNREACHABLE, f"the portal at {self._base} cannot be reached: {last}")

    def stream(self, path: str, *, query: dict[str, Any] | None = None, headers: dict[str, str] | None = None) -> Any:
        """The answer to a GET, opened and not read: for files of any length. A broken connection is the caller's to go on from."""
        given = {"Authorization": f"Bearer {self._token}", "Accept": "*/*", **(headers or {})}
        request = urllib.request.Request(self._url(path, query), headers=given)  # noqa: S310 - scheme checked above
        try:
            return self._opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            self._refused(error)
        except (OSError, http.client.HTTPException) as error:
            refuse(UNREACHABLE, f"the portal at {self._base} cannot be reached: {getattr(error, 'reason', error)}")

    @staticmethod
    def _refused(error: urllib.error.HTTPError) -> NoReturn:
        try:
            problem = json.loads(error.read())
        except (ValueError, OSError):
            problem = {}
        if not isinstance(problem, dict) or "detail" not in problem:
            problem = {"title": error.reason or "refused", "status": error.code, "detail": f"the portal answered HTTP {error.code}"}
        default = UNREACHABLE if error.code >= 500 or 300 <= error.code < 400 else REFUSED
        raise ClientError(_CODES.get(error.code, default), problem)

    def pages(self, path: str, query: dict[str, Any], most: int) -> Iterator[Any]:
        """Rows of a list, page after page, at most `most`."""
        answer = self.call("GET", path, query=query | {"page_size": min(most, 200)})
        sent = 0
        while True:
            if not isinstance(answer, dict) or "results" not in answer:
                yield from (answer if isinstance(answer, list) else [answer])
                return
            for row in answer["results"]:
                if sent >= most:
                    return
                sent += 1
                yield row
            if not answer.get("next"):
                return
            answer = self.call("GET", answer["next"])


def read_json(source: str) -> Any:
    """A JSON document from a file, or from standard input for `-`."""
    try:
        called_from = Path(os.environ.get("GATEHOUSE_CALLED_FROM", "."))
        text = sys.stdin.read() if source == "-" else (called_from / source).read_text()
        return json.loads(text)
    except OSError as error:
        refuse(USAGE, f"{source}: {error.strerror}")
    except ValueError as error:
        refuse(USAGE, f"{source} is not JSON: {error}")


def main(arguments: list[str]) -> int:
    """Run one client command; see the module's text for the exit codes."""
    from gatehouse_cli.client_commands import run

    try:
        result = run(arguments)
    except ClientError as error:
        print(json.dumps(error.problem, indent=1, ensure_ascii=False), file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    code, answer = result
    try:
        if isinstance(answer, bytes):
            sys.stdout.buffer.write(answer)
        elif answer is not None:
            print(json.dumps(answer, indent=1, ensure_ascii=False))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
