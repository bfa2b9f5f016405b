"""Payloads that the API checks in full before it accepts them; shared by API and worker."""
