"""Which run is done by whom: a journal on one machine, a database on many."""
