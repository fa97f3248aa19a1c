"""Who may do what: identities, signed commands, the audit chain."""
