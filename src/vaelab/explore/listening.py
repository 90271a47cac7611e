"""Where a page is served: the host, the port, and the token of an address that others can reach."""

import secrets
import socket

from vaelab import UsageError

LOOPBACK = ("127.0.0.1", "localhost")


def token_for(host: str) -> str | None:
    """A random token where others can reach the page, None where only this machine can."""
    return None if host in LOOPBACK else secrets.token_urlsafe(16)


def listen(host: str, port: int | None) -> socket.socket:
    """A socket on a port, a free one without; raises UsageError for one that is taken, or a host that is not here."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port or 0), family=family)
    except OSError as error:
        if isinstance(error, socket.gaierror) or port is None:
            raise UsageError(
                f"host={host} is no address of this machine ({error.strerror}): 0.0.0.0 is all that it has"
            ) from None
        raise UsageError(
            f"port={port} of {host} is not free ({error.strerror}): give another, or leave port=... out for a free one"
        ) from None


def address(listening: socket.socket, host: str, token: str | None) -> str:
    """What to type into a browser."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    named = f"[{name}]" if ":" in name else name
    return f"http://{named}:{listening.getsockname()[1]}/" + (f"?token={token}" if token else "")
