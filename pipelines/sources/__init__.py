"""The public datasets and bundled inputs as records, and how they are found below a folder."""
