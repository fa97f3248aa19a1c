"""Venues: one port, an adapter each, the gateway that stands before them, and an exchange to trade on."""
