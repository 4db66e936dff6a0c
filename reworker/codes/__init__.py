"""Code packages: checking and unpacking them, keeping them, and running their processes."""

from reworker.task_errors import PackageInvalid

__all__ = ["PackageInvalid"]
