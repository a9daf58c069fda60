"""Does it serve? Models of dummy weights, a server, and the load that is sent to it."""
