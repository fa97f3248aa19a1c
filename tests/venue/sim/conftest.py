"""Its presence puts this folder on the path, so that tests import `sim_venue`."""
