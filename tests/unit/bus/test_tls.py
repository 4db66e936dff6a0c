"""What goes wrong with TLS, in words that say what to do; real handshakes are in the contract tests."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from reworker.bus.link import reason_of
from reworker.bus.tls import tls_context, tls_words
from reworker.config import TlsSettings
from reworker.errors import ConfigError


def refused(code: int, words: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {words}")
    error.verify_code, error.verify_message = code, words
    return error


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (10, "certificate has expired", "renew it on the broker"),
        (9, "certificate is not yet valid", "clocks"),
        (18, "self-signed certificate", "ssl.ca"),
        (20, "unable to get local issuer certificate", "ssl.ca"),
        (62, "Hostname mismatch, certificate is not valid for 'x'.", "ssl.server_name"),
        (64, "IP address mismatch", "ssl.server_name"),
        (99, "something new", "see what the broker's certificate says"),
    ],
)
def test_refused_certificate_of_the_broker_says_why_and_what_to_do(code: int, words: str, hint: str) -> None:
    text = reason_of(refused(code, words))
    assert words.rstrip(".") in text
    assert hint in text


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", "wants a certificate"),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired", "has expired"),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca", "does not know who has signed"),
        ("[SSL: SSLV3_ALERT_BAD_CERTIFICATE] bad", "refuses our certificate"),
        ("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure", "refuses our certificate"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "no TLS is spoken"),
        ("[SSL: TLSV1_ALERT_PROTOCOL_VERSION] x", "no version of TLS in common"),
    ],
)
def test_alert_of_the_broker_says_what_it_means(text: str, meaning: str) -> None:
    assert meaning in reason_of(ssl.SSLError(1, text))


def test_other_errors_are_left_to_others() -> None:
    assert tls_words(OSError(111, "Connection refused")) == ""
    assert tls_words(ssl.SSLError(1, "[SSL] something new")) == ""


@pytest.mark.parametrize("key", ["ca", "cert", "key"])
def test_missing_file_is_named_with_its_key(tmp_path: Path, key: str) -> None:
    there = tmp_path / "there.pem"
    there.write_text("x")
    files = {"cert": str(there), "key": str(there), key: str(tmp_path / "absent.pem")}
    with pytest.raises(ConfigError, match=r"absent\.pem: No such file.*let this user read it") as caught:
        tls_context(TlsSettings(**files))
    assert caught.value.key == f"ssl.{key}"


def test_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        tls_context(TlsSettings(ca=str(tmp_path)))


def test_file_without_certificates_is_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("hello")
    with pytest.raises(ConfigError, match=r"junk\.pem holds no certificates in PEM form"):
        tls_context(TlsSettings(ca=str(junk)))
    with pytest.raises(ConfigError, match=r"junk\.pem .* cannot be used, both are wanted in PEM form"):
        tls_context(TlsSettings(cert=str(junk)))


def test_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key without a certificate"):
        tls_context(TlsSettings(key=str(tmp_path / "key.pem")))
