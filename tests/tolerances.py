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
# Gradients in float32 of aligned pairs at a low temperature, of the largest: 1 − p keeps 1e-7 of p, and is small.
ALIGNED_GRADIENT = 2e-3
# Features of a whole network, of order 1, against another library's float32: it sums in another order.
PARITY = 1e-4
# Pillow rounds to 1/255 after each axis; the cubic kernel overshoots and doubles that.
PILLOW = {'bilinear': 1.01 / 255, 'bicubic': 2.01 / 255}
# Six box passes, three per axis, each rounded to 1/255 by Pillow.
PILLOW_BLUR = 3 / 255
# torchvision on float tensors, stored in 16 bits; single pixels on a step of the operation may fall to its other side.
TORCHVISION = 1 / 255
# Coefficients of logistic regression, C ≤ 1, and beyond that its objective, in float32 against scikit-learn in float64.
LOGISTIC_COEFFICIENT = 1e-4
LOGISTIC_OBJECTIVE = 1e-6
# Fifty float32 steps against the authors': each loss, and the parameters over the tree; docs/parity.md has the
# noise floor of the references on the recorded problems.
TRAJECTORY_LOSS = 1e-4
TRAJECTORY_PARAMETERS = 1e-3
# SwAV's reference differs from itself by 3e-4 when it runs on two threads: assignments on the edge fall to the other side.
TRAJECTORY_LOSS_SWAV = 1e-3
# SimSiam's differs from itself by 7e-5 on another number of threads; in float64 ours agrees with it as the others do.
TRAJECTORY_LOSS_SIMSIAM = 3e-4
# The same in float64: rounding of the reported loss, and guards such as the 1e-6 of DINO's clipping, grown 50 steps.
TRAJECTORY_FLOAT64 = 1e-5
# Twelve float32 steps on as many devices, in one process or spread over several: gloo adds in another order.
PROCESSES = 1e-3
# Losses and gradients of the last steps of runs that an older version saved, resumed by a program that rounds in
# another order (1e-6 between one and eight host devices).
SAVED = 1e-5
# Sums over a batch's pixels in another order, in float64: of gradients of a convolution, and of batch-norm's.
CONVOLUTION_FLOAT64 = 1e-12
BATCH_NORM_FLOAT64 = 1e-12
# Variance in float32 of values 100 deviations away from 0, against float64: their own rounding is 100 · 6e-8 each.
BATCH_NORM_LARGE_MEAN = 1e-5
