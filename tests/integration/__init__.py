"""Services against a real Redis and a real SMTP server."""
