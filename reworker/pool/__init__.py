"""Worker instances of one process: settings, threads, life cycle, signals."""
