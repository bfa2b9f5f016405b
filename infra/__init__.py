"""The system's infrastructure as one Pulumi program, and the commands around it."""
