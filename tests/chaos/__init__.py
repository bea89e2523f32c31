"""`make chaos`: random faults on a mesh of real daemons, and what must hold all the same."""
