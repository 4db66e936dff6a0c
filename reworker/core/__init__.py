"""The impure half of the core: what the machine decides is stored, then done, then settled."""
