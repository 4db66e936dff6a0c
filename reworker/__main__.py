"""``python -m reworker`` is the command ``reworker``."""

from reworker.cli.main import main

if __name__ == "__main__":
    main()
