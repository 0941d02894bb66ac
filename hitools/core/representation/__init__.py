"""Between physical events and the numbers that networks see, both ways."""
