"""Path of conductor-python: events about tasks, and who listens to them."""
