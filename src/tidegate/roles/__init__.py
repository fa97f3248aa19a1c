"""Roles as services: what `tidegate run ROLE[,ROLE …]` builds from a configuration, and runs until it is told to stop."""
