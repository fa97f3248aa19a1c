"""The whole system in one process on virtual time, under faults drawn from a seed. `docs/faults.md`."""
