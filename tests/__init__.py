"""The tests of reworker and its bundled plugins."""
