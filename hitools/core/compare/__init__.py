"""Numbers from two samples: distances, histograms and ratios, classifiers, their errors."""
