"""Can a trained classifier tell a sample from its reference? (paper, section IV E, Fig. 12)"""
