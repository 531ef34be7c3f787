"""A job killed at any moment goes on as if it had not been."""
