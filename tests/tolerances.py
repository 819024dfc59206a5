"""Tolerances, named once."""

# float32 keeps 24 bits; sums of some thousand terms lose a few of them.
FLOAT32 = 1e-5
# Golden values are printed with ten digits after the point.
GOLDEN_FLOAT64 = 2e-9
# float64 against a float64 reference that sums in another order.
FLOAT64 = 1e-10
# bfloat16 keeps 8 bits: a loss of rounded inputs is that far from the loss of the exact ones.
BFLOAT16 = 5e-2
# Central differences against automatic differentiation in float64.
GRADIENT = 1e-5
# Features of a whole network, of order 1, against another library's float32: it sums in another order.
PARITY = 1e-4
