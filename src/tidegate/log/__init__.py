"""The event log: append, read, follow; requests, ephemeral publishing, key-value."""
