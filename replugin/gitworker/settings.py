"""The settings of the git worker: which repositories there are, and what steps may push to them."""

from __future__ import annotations

import base64
import re
import shlex
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from reworker.worker import secret_of

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: what branches and tags may be called: stricter than git, so that no name is an option or an expression.
REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}")
COMMIT = re.compile(r"[0-9a-f]{7,64}")
#: an URL of a repository, by the protocol it speaks.
URLS = {
    "https": re.compile(r"https://[A-Za-z0-9\[][^\s@]*"),
    "http": re.compile(r"http://[A-Za-z0-9\[][^\s@]*"),
    "git": re.compile(r"git://[A-Za-z0-9\[]\S*"),
    "ssh": re.compile(
        r"(ssh://([A-Za-z0-9._]+@)?[A-Za-z0-9\[][^\s@]*|[A-Za-z0-9._]+@[A-Za-z0-9][A-Za-z0-9.-]*:[^\s:-]\S*)"
    ),
    "file": re.compile(r"(file://)?/\S*"),
}
Protocol = Literal["https", "http", "git", "ssh", "file"]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Repository(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One repository."""

    url: str
    folder: str | None = None
    discard_changes: bool = False
    push_branches: tuple[str, ...] = ()
    push_tags: tuple[str, ...] = ()
    user: str = "git"
    token: str | None = None
    token_file: str | None = None
    ssh_key: str | None = None
    known_hosts: str | None = None
    ca: str | None = None

    def __post_init__(self) -> None:
        """Check what no type can say.

        Raises:
            ValueError: it is wrong.
        """
        if not self.url.isascii() or not self.url.isprintable() or not self.protocol():
            raise ValueError(
                f"url: {self.url!r} is no URL of a repository; one with a password is none either"
            )
        if self.folder is not None and not Path(self.folder).is_absolute():
            raise ValueError("folder: give its whole path")
        self.token, self.token_file = secret_of(self.token, self.token_file), None
        if self.token is not None and self.protocol() != "https":
            raise ValueError("token: is for https only")
        for file in (self.ssh_key, self.known_hosts, self.ca):
            if file is not None and not Path(file).is_file():
                raise ValueError(f"{file} is no file")

    def protocol(self) -> str:
        """Return what its URL speaks, or nothing."""
        return next((name for name, pattern in URLS.items() if pattern.fullmatch(self.url)), "")

    def environment(self) -> dict[str, str]:
        """Return how git logs in there; it never asks anybody."""
        ssh = ["ssh", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes"]
        if self.ssh_key is not None:
            ssh += ["-i", self.ssh_key, "-oIdentitiesOnly=yes"]
        if self.known_hosts is not None:
            ssh.append(f"-oUserKnownHostsFile={self.known_hosts}")
        options = {} if self.ca is None else {"http.sslCAInfo": self.ca}
        if self.token is not None:
            login = base64.b64encode(f"{self.user}:{self.token}".encode()).decode()
            options["http.extraHeader"] = f"Authorization: Basic {login}"
        found = {"GIT_SSH_COMMAND": shlex.join(ssh), "GIT_CONFIG_COUNT": str(len(options))}
        for number, (key, value) in enumerate(options.items()):
            found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return found

    def may_push_branch(self, name: str) -> bool:
        """Tell whether steps may push to a branch."""
        return any(fnmatchcase(name, pattern) for pattern in self.push_branches)

    def may_push_tag(self, name: str) -> bool:
        """Tell whether steps may push a tag."""
        return any(fnmatchcase(name, pattern) for pattern in self.push_tags)


class Identity(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who commits."""

    name: Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^<>\n\x00]*$")] = "reworker"
    email: Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^<>\s\x00]*$")] = "reworker@localhost"


class GitSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The worker's own settings."""

    repositories: Annotated[dict[str, Repository], msgspec.Meta(min_length=1)]
    cache: str
    identity: Identity = msgspec.field(default_factory=Identity)
    protocols: tuple[Protocol, ...] = ("https", "ssh")
    command_timeout_s: Seconds = 600.0
    program: str = "git"

    def __post_init__(self) -> None:
        """Check what no type can say.

        Raises:
            ValueError: it is wrong.
        """
        if not Path(self.cache).is_absolute():
            raise ValueError("cache: give the whole path of a folder")
        for name, repository in self.repositories.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"repositories: {name!r} is no name; use letters, digits, '.', '_' and '-'")
            if repository.protocol() not in self.protocols:
                known = ", ".join(self.protocols)
                raise ValueError(
                    f"repositories.{name}.url: speaks {repository.protocol()}; protocols: {known}"
                )


def ref_problem(name: str) -> str:
    """Say what is wrong with the name of a branch or tag, or nothing."""
    parts = name.split("/")
    is_odd = ".." in name or any(
        part.startswith((".", "-")) or part.endswith((".", ".lock")) or not part for part in parts
    )
    return (
        ""
        if REF.fullmatch(name) and not is_odd and name != "HEAD"
        else f"{name!r:.100} is no name of a branch or tag"
    )
