"""The client side of the network: fetching, trees, remote images."""
