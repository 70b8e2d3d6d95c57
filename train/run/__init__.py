"""One run of the trainer: configuration, networks, steps, log and publishing."""
