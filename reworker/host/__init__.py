"""Running workers: finding a worker's class by name."""
