"""TLS to the broker: the context from certificate files, and what went wrong in words that say what to do."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import NoReturn

from reworker.config import TlsSettings
from reworker.errors import ConfigError

#: OpenSSL's numbers of why a certificate was not accepted, and what to do. Source: openssl-verify(1).
_VERIFY_HINTS = {
    9: "it is not valid yet: check the clocks of this machine and of whoever made it",
    10: "renew it on the broker, and check the clock of this machine",
    18: "set ssl.ca to the file of the authority that has signed it",
    19: "set ssl.ca to the file of the authority that has signed it",
    20: "set ssl.ca to the file of the authority that has signed it",
    21: "set ssl.ca to the file of the authority that has signed it",
    62: "connect by a name that stands in it, or set ssl.server_name to one",
    64: "connect by a name that stands in it, or set ssl.server_name to one",
}
_OWN_REFUSED = "the broker refuses our certificate"
_OWN_HINT = "set ssl.cert and ssl.key to a valid one that an authority of the broker has signed"
#: words in OpenSSL's name of an alert, what it means, what to do; the first that fits.
_ALERT_HINTS = (
    ("CERTIFICATE_REQUIRED", "the broker wants a certificate of ours", "set ssl.cert and ssl.key"),
    ("CERTIFICATE_EXPIRED", f"{_OWN_REFUSED}, it has expired", "renew it: ssl.cert"),
    ("UNKNOWN_CA", f"{_OWN_REFUSED}, it does not know who has signed it", _OWN_HINT),
    ("ALERT_BAD_CERTIFICATE", _OWN_REFUSED, _OWN_HINT),
    ("ALERT_CERTIFICATE", _OWN_REFUSED, _OWN_HINT),
    ("ALERT_HANDSHAKE_FAILURE", f"{_OWN_REFUSED}, or has no cipher in common with us", _OWN_HINT),
    ("WRONG_VERSION_NUMBER", "no TLS is spoken on this port", "set port to that of TLS, usually 5671"),
    ("PROTOCOL_VERSION", "the broker has no version of TLS in common with us", "let it speak TLS 1.2 or 1.3"),
    (
        "EOF_OCCURRED",
        "the broker broke off the TLS handshake",
        "its log says why; it may refuse our certificate",
    ),
)
_OPENSSL_NAME = re.compile(r"\[SSL: (\w+)\]")


def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """Return how to speak TLS: version 1.2 or newer, the server's name and certificate checked.

    The files are read now, so that a renewed certificate is used by the next connection.

    Raises:
        ConfigError: a file cannot be read or used; names the key, the file and what to do.
    """
    if tls.key and not tls.cert:
        raise ConfigError("there is a key without a certificate; set ssl.cert too", key="ssl.key")
    for name, path in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)):
        if path:
            _check_readable(f"ssl.{name}", path)
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except ssl.SSLError as error:
        _refuse("ssl.ca", f"{tls.ca} holds no certificates in PEM form", error)
    if tls.cert:
        _load_own(context, tls.cert, tls.key)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _check_readable(key: str, path: str) -> None:
    """Name the file: OpenSSL's own errors do not."""
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        reason = f"cannot read {path}: {error.strerror}; give its name and let this user read it"
        raise ConfigError(reason, key=key) from error


def _load_own(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            _refuse("ssl.key", f"{key or cert} is not the key of the certificate {cert}", error)
        files = f"{cert} or {key}" if key else f"{cert} (which has to hold certificate and key)"
        _refuse("ssl.cert", f"{files} cannot be used, both are wanted in PEM form", error)


def _no_password() -> str:
    """Answer for the person at the terminal whom OpenSSL would ask."""
    raise ConfigError(
        "the key has a passphrase, and nobody is there to type it; store it without", key="ssl.key"
    )


def _refuse(key: str, text: str, error: ssl.SSLError) -> NoReturn:
    raise ConfigError(f"{text} ({error.reason or error})", key=key) from error


def tls_words(error: BaseException) -> str:
    """Return a failure of TLS in words, with what to do; empty when it is none."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        hint = _VERIFY_HINTS.get(error.verify_code, "see what the broker's certificate says")
        return f"certificate verify failed: {why}; {hint}"
    text = str(error)
    if "SSL" not in text:
        return ""
    for word, meaning, hint in _ALERT_HINTS:
        if word in text.upper().replace(" ", "_"):
            name = _OPENSSL_NAME.search(text)
            return f"{meaning}; {hint} ({name[1] if name else 'end of stream'})"
    return ""
