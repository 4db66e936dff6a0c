"""Sphinx settings; `make docs` builds with every warning an error."""

import reworker

project = "reworker"
author = "the reworker contributors"
project_copyright = "the reworker contributors"
version = release = reworker.__version__

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"reworker {release}"

myst_heading_anchors = 3
#: docs/state-machine.md marks its diagrams as GitHub wants them.
myst_fence_as_directive = ["mermaid"]
