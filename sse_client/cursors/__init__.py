"""The position after which a stream resumes: where it is saved, and when it advances."""
