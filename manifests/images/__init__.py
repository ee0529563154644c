"""Image files: decoding, lossless encoding, perceptual hashes and guard files made of them. Measures of two images
live in `operators.shared`."""
