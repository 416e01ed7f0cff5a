"""One class a stack, from the network up. Each knows what it makes and is handed what it stands on."""
