"""Where a stream resumes after a restart: the position, how it is kept, and when it moves."""
