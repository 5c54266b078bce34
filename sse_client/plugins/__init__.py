"""What a client can install: the registry, and the plugins of this package."""
