"""A simulation of service tasks behind a load balancer, fed by measured curves (docs/capacity.md)."""
