"""A trained model: its folder, its name, and the events that it makes."""
