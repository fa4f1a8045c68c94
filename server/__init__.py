"""What runs at the coordinator: steering, summing, learning, publishing. It never imports client."""
