"""Path of the SDKs; see `reworker.conductor`."""
