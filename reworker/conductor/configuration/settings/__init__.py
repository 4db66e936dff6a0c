"""Path of conductor-python; see `reworker.conductor`."""
