"""One method of each kind, as another package would add them."""
