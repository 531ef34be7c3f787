"""Names and signatures of a network's layers and weights."""
