"""The networks: event ResNet and Point-Edge Transformer over packed particles."""
