"""The pure half of the core: playbook, plan and state machine, without I/O, clock, random or threads."""
