"""What tests stand on: a loop whose time jumps, and requests generated from the service models."""
