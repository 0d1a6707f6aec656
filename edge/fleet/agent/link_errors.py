"""Why there is no connection, in one line, and how long to wait before the next attempt. Pure."""

from __future__ import annotations

import socket
import ssl

from edge.errors import EdgeError

# A wrong certificate does not mend itself within seconds, and each attempt is a line in the broker's log.
FIRST_S, MOST_S = 1.0, 120.0
IDENTITY_FIRST_S, IDENTITY_MOST_S = 60.0, 3600.0
_ALERTS = {
    "certificate revoked": "this device's certificate is revoked",
    "certificate expired": "this device's certificate has expired",
    "unknown ca": "the broker does not know the CA of this device's certificate",
    "certificate required": "the broker wants a certificate of this device",
    "bad certificate": "the broker does not take this device's certificate",
    "certificate unknown": "the broker does not take this device's certificate",
    "access denied": "the broker does not take this device's certificate",
}
_VERIFY = {
    9: "the broker's certificate is not valid yet: look at this device's clock",
    10: "the broker's certificate has expired, or this device's clock is wrong",
    18: "the broker's certificate is not of the fleet's CA",
    19: "the broker's certificate is not of the fleet's CA",
    20: "the broker's certificate is not of the fleet's CA",
    62: "the broker's certificate is for another name",
    64: "the broker's certificate is for another address",
}


def in_words(error: BaseException) -> tuple[str, bool]:
    """(what is wrong, whether it is about identity, which time alone does not mend)."""
    if isinstance(error, EdgeError):
        return str(error).rstrip("."), True
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, f"the broker's certificate is not right ({error.verify_code})"), True
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return "the TLS handshake broke off", False  # nobody said no: bad Wi-Fi, or a broker that starts anew
    if isinstance(error, ssl.SSLError):
        return alert_in_words(str(error)) or ("the broker ends the TLS handshake", True)
    if isinstance(error, socket.gaierror):
        return "the broker's name is not known here", False
    if isinstance(error, ConnectionRefusedError):
        return "nobody answers at the broker's port", False
    if isinstance(error, TimeoutError):
        return "the broker does not answer", False
    if isinstance(error, OSError):
        return "no way to the broker", False
    return f"no connection ({type(error).__name__})", False


def alert_in_words(text: str) -> tuple[str, bool] | None:
    """The TLS alert in what a library wrote, which is itself not repeated."""
    lower = text.lower().replace("_", " ")
    return next(((words, True) for alert, words in _ALERTS.items() if alert in lower), None)


def refusal_in_words(reason_code: int) -> tuple[str, bool]:
    """A CONNACK that says no."""
    known = {
        0x85: ("the broker does not take this device's name", True),
        0x86: ("the broker does not take this device's certificate", True),
        0x87: ("this device may not use the broker", True),
        0x88: ("the broker is not available", False),
        0x89: ("the broker is busy", False),
        0x8A: ("this device is banned", True),
        0x95: ("the broker takes only smaller packets", True),
        0x97: ("the broker's quota is used up", False),
        0x9F: ("the broker takes connections more slowly", False),
    }
    return known.get(reason_code, (f"the broker refuses the connection ({reason_code:#04x})", False))
