"""Delivery of e-mail: messages, and the transports that carry them."""
