"""The command `reworker`: one file per command or family; `wiring` puts the parts together."""
