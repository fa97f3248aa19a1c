"""New versions of a strategy: tried, compared, watched, taken back."""
