"""From a trained network to numbers: protocols, regions, metrics and benchmark archives."""
