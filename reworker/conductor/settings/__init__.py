"""Path of swift-conductor-client; see `reworker.conductor`."""
