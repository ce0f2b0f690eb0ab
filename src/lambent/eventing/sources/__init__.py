"""Where records wait. A source knows how to receive and to settle; what they are for, it does not know."""
