"""Training: data feeding, optimisers, the loop, and what lets a killed run continue."""
