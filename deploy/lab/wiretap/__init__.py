"""What is on the Python path of the lab's coordinator, and of no other process."""
