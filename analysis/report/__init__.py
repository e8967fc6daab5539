"""The report of a study: tables as text, figures, one HTML page."""
