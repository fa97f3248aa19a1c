"""Its presence puts this folder on the path, so that tests import the references as `oracle.<name>`."""
