"""A new job begins with the weights of an old one, or not at all."""
