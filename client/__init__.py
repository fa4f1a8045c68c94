"""What runs inside an institution: everything that may touch rows, and the gate that guards them."""
