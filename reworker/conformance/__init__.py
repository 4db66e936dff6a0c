"""The conformance kit: plays the core against a worker in any language, and says what it supports."""
