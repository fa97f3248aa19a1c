"""Running the services: processes kept alive, their health, their logs, and a look at all of it."""
