"""Courses of load over time; each file holds one, named after it."""
