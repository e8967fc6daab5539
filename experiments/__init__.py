"""One run: a spec is trained, evaluated and recorded."""
