"""What every test shares."""

from __future__ import annotations

import torch

# The networks under test are tiny: more threads than one only wait for each other, minutes on a busy machine.
torch.set_num_threads(1)
