"""Breakers: triggers that bring a scope down by themselves, as pure folds over order events, marks and what others tell."""
