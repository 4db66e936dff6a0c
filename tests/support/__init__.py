"""What the tests share: servers, processes, waiting."""
