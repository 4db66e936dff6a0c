"""Code packages, tasks and schedules: a task is a deployment of one step, ``code:<name>``."""
