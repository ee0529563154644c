"""What data engine, model and trainer all use and may import: embedders, measures of images, palettes, the square
crop. Imports nothing of ours but images and schema."""
