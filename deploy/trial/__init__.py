"""Real service tasks behind a real load balancer on loopback, loaded and broken (docs/capacity.md)."""
