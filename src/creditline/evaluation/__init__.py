"""Does the attribution tell the truth? Checks that print their own numbers."""
