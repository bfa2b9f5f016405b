"""This queue's task types for the bench."""
