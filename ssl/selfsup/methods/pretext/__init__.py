"""Methods that answer what an augmentation did to an image, one a file."""
