"""Which run is done by whom: the locks of their folders on one machine, a database on many."""
