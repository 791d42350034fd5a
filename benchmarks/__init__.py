"""What the product costs beside the least that could be written by hand: `make bench`."""
