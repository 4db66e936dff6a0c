"""What people change of a code's options: each by itself, and masked values stay as they are. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from reworker.core.tasks.filtering import filtered_values, restored
from reworker.core.tasks.options import MOST_DELAY_S, MOST_RETRIES, CodeOptions


class CodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of a code that are to be changed; null leaves one as it is.

    Args:
        max_concurrency: tasks that run at once at most; 0 is without limit.
        retries: how many times a task that ends in error is tried again.
        retries_delay_s: seconds before each of these.
        default_priority: of tasks that name none.
        config: text for each task, 64 KiB at most, usually JSON; as it was shown, with masks, leaves it.
        env_vars: all variables of each task's environment; a masked value leaves that one as it is.
        result_queue: where the result of each task is sent; empty is nowhere.
        result_url: where it is posted to, signed; empty is nowhere.
    """

    max_concurrency: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    retries: Annotated[int, Meta(ge=0, le=MOST_RETRIES)] | None = None
    retries_delay_s: Annotated[float, Meta(ge=0, le=MOST_DELAY_S)] | None = None
    default_priority: Annotated[int, Meta(ge=0, le=2)] | None = None
    config: str | None = None
    env_vars: dict[str, str] | None = None
    result_queue: str | None = None
    result_url: str | None = None

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is to be changed."""
        return all(getattr(self, name) is None for name in CodeOptions.__struct_fields__)


def changed(options: CodeOptions, asked: CodeSettings) -> CodeOptions:
    """Return options with what is to be changed of them.

    Raises:
        TaskRefused: a mask stands for nothing that we know.
    """
    given = {
        name: value for name in CodeOptions.__struct_fields__ if (value := getattr(asked, name)) is not None
    }
    for name in ("config", "result_url"):
        if name in given:
            given[name] = restored(given[name], getattr(options, name), name)
    if "env_vars" in given:
        given["env_vars"] = _variables(options.env_vars, given["env_vars"])
    return msgspec.structs.replace(options, **given)


def _variables(before: dict[str, str], asked: dict[str, str]) -> dict[str, str]:
    shown = filtered_values(before)
    return {
        name: before[name] if shown.get(name) == value else restored(value, "", "env_vars")
        for name, value in asked.items()
    }
