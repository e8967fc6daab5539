"""Image and flow file formats, read strictly."""
