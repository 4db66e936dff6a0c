"""`--hypothesis-profile=quick` tries fewer examples; `make unit` uses it, `make test` tries all."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("quick", max_examples=20)
