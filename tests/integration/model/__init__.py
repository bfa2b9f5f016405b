"""A model of the queue in plain Python, and the machine that holds the scripts to it."""
