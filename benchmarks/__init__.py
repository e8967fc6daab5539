"""How fast the project trains, beside what else one would train with; run by hand, never in the tests."""
