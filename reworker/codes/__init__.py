"""Code packages: checking and unpacking them, keeping them, and running their processes."""
