"""Which address does what, and who may ask: one table for both ways in which clients write addresses.

Clients of Conductor say ``tasks``, the one of Swift says ``task``: a word of the table may have two forms.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from reworker.core.principal import Principal, Scope
from reworker.web.conductor import looking, metadata, tasks, workflows
from reworker.web.conductor.documents import STATUSES
from reworker.web.conductor.exchange import Answer, Exchange
from reworker.web.conductor.parts import Parts

Act = Callable[[Parts, Exchange, Principal], Awaitable[Answer]]

#: characters of an address.
PATH_CHARACTERS = 2000


class Address(NamedTuple):
    """One method of one address.

    Args:
        method: of HTTP.
        words: between the slashes; ``{name}`` is any one, ``a|b`` one of these.
        act: answers.
        scopes: one of them is enough; None lets everybody pass.
    """

    method: str
    words: tuple[str, ...]
    act: Act
    scopes: tuple[Scope, ...] | None


def _at(method: str, path: str, act: Act, *scopes: Scope) -> Address:
    return Address(method, tuple(path.split("/")), act, scopes)


_W, _R, _RUN, _C = Scope.WORKER, Scope.READ, Scope.RUN, Scope.CANCEL
_SEEING = (_R, _RUN, _C, Scope.APPROVE)
_T, _D, _F = "tasks|task", "metadata/taskdefs|taskdef", "metadata/workflow|workflowdef"

ADDRESSES = (
    _at("GET", f"{_T}/poll/batch/{{type}}", tasks.poll_batch, _W),
    _at("GET", f"{_T}/poll/{{type}}", tasks.poll_one, _W),
    _at("POST", f"{_T}/update-v2", tasks.update_with_next, _W),
    _at("POST", _T, tasks.update, _W),
    _at("GET", f"{_T}/queue/sizes", looking.sizes, _W),
    _at("GET", f"{_T}/queue/size", looking.size, _W),
    _at("GET", f"{_T}/queue/all", looking.all_sizes, _W),
    _at("GET", f"{_T}/queue/polldata|poll-data", looking.polled, _W),
    _at("GET", f"{_T}/queue/polldata|poll-data/all", looking.all_polled, _W),
    _at("GET", f"{_T}/{{id}}", looking.task, _W, *_SEEING),
    _at("GET", f"{_T}/{{id}}/log", looking.log, _W),
    _at("POST", f"{_T}/{{id}}/log", looking.add_log, _W),
    _at("POST", f"{_T}/{{id}}/ack", looking.acknowledge, _W),
    _at("POST", f"{_T}/{{workflow}}/{{reference}}/{{status}}", tasks.update_by_name, _W),
    _at("GET", _D, metadata.all_definitions, _W),
    _at("POST", _D, metadata.put, _W),
    _at("PUT", _D, metadata.put, _W),
    _at("GET", f"{_D}/{{type}}", metadata.definition, _W),
    _at("DELETE", f"{_D}/{{type}}", metadata.drop, _W),
    _at("GET", _F, workflows.playbooks, *_SEEING),
    _at("GET", f"{_F}/{{name}}", workflows.playbook, *_SEEING),
    _at("POST", "workflow", workflows.start, _RUN),
    _at("POST", "workflow/{name}", workflows.start_named, _RUN),
    _at("GET", "workflow/{workflow}", workflows.workflow, *_SEEING),
    _at("GET", "workflow/{workflow}/status", workflows.status, *_SEEING),
    _at("DELETE", "workflow/{workflow}", workflows.terminate, _C),
    _at("PUT", "workflow/{workflow}/pause", workflows.pause, _RUN, _C),
    _at("PUT", "workflow/{workflow}/resume", workflows.resume, _RUN),
    _at("POST", "workflow/{workflow}/retry", workflows.retry, _RUN),
    _at("POST", "workflow/{workflow}/restart", workflows.restart, _RUN),
    Address("POST", ("token",), metadata.token, None),
    Address("GET", ("health",), looking.health, None),
)
#: first words below a prefix of our own, where no page is: what is in no table there is told in this dialect.
ROOTS = frozenset({"tasks", "task", "metadata", "workflow", "token", "schema", "event", "scheduler"})


class Found(NamedTuple):
    """What an address says.

    Args:
        address: None is no such address.
        path: its parts by name.
    """

    address: Address | None
    path: Mapping[str, str]


class AddressBook:
    """Finds addresses below some prefixes.

    Args:
        prefixes: such as ``/api``; empty is none.
    """

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._prefixes = sorted(prefixes, key=len, reverse=True)
        self._table: dict[tuple[str, int], list[Address]] = {}
        for one in ADDRESSES:
            self._table.setdefault((one.method, len(one.words)), []).append(one)

    def find(self, method: str, raw_path: str) -> Found | None:
        """Return what an address is for; None when it is none of this dialect.

        Args:
            method: of HTTP.
            raw_path: as it came, with what is encoded in it.
        """
        for prefix in self._prefixes if len(raw_path) <= PATH_CHARACTERS else ():
            if raw_path.startswith(f"{prefix}/"):
                rest = raw_path[len(prefix) + 1 :]
                # clients put their own slash behind that of an address which ends with one
                rest = rest.removeprefix("/") if prefix else rest
                words = [unquote(one) for one in rest.split("/")]
                found = self._below(method, words, has_prefix=bool(prefix))
                if found is not None:
                    return found
        return None

    def _below(self, method: str, words: list[str], *, has_prefix: bool) -> Found | None:
        for address in self._table.get((method, len(words)), ()):
            path = _parts_of(address, words, has_prefix=has_prefix)
            if path is not None:
                return Found(address, path)
        return Found(None, {}) if has_prefix and words[0] in ROOTS else None


def _parts_of(address: Address, words: list[str], *, has_prefix: bool) -> dict[str, str] | None:
    """Return the parts of an address by name; None when it is another one."""
    path: dict[str, str] = {}
    for wanted, word in zip(address.words, words, strict=True):
        if wanted[0] == "{":
            name = wanted[1:-1]
            if not word or not _fits(name, word, has_prefix=has_prefix):
                return None
            path[name] = word
        elif word not in wanted.split("|"):
            return None
    return path


def _fits(name: str, word: str, *, has_prefix: bool) -> bool:
    if name == "status":
        return word in STATUSES
    # without a prefix there are pages of tasks, whose ids have no dot
    return name != "id" or has_prefix or "." in word
