"""The whole of one run: inputs, training, evaluation, cost and the files left behind."""
