"""Events whose data is decoded into an object of a requested type."""
