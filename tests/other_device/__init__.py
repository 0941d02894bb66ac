"""A second device, so that what a GPU would refuse is found where there is none."""
