"""An at-least-once task queue on Redis: leases, fencing, one Lua script per change of state."""

__version__ = "0.2.0"
