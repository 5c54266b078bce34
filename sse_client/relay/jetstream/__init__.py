"""The relay into NATS JetStream (extra ``nats``). Only the command uses it."""
