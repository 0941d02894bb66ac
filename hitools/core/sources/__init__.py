"""Where events come from: Monte Carlo generators and foreign files."""
