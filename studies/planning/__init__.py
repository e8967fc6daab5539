"""From a study and a command line to the runs to be done."""
