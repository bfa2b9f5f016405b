"""The embedded cluster: a single-node upstream Kubernetes from registry packages."""
