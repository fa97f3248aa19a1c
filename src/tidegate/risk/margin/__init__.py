"""Margin: what venues ask for positions, what accounts have against it, and what is done when it runs out."""
