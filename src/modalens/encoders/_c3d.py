"""C3D: eight 3-D convolutions and two fully connected layers, (N, 3, 16, 112, 112) -> (N, 4096).

Source: Tran et al. 2015, figure 3 and section 3.3: kernels of 3 x 3 x 3 throughout, features of the layer fc6.
Parameters have the names under which the published Sports-1M weights are usually passed on for PyTorch.
"""

import torch
from torch import Tensor, nn

# (name, channels in, channels out, pooling after it)
CONVOLUTIONS = (
    ("conv1", 3, 64, (1, 2, 2)),
    ("conv2", 64, 128, (2, 2, 2)),
    ("conv3a", 128, 256, None),
    ("conv3b", 256, 256, (2, 2, 2)),
    ("conv4a", 256, 512, None),
    ("conv4b", 512, 512, (2, 2, 2)),
    ("conv5a", 512, 512, None),
    ("conv5b", 512, 512, (2, 2, 2)),
)
FRAMES, SIDE = 16, 112
CLASSES = 487  # of Sports-1M


class C3d(nn.Module):
    def __init__(self, classes: int = CLASSES, width: int = 4096) -> None:
        """width: of the fully connected layers, 4096 in the paper."""
        super().__init__()
        for name, channels_in, channels_out, _ in CONVOLUTIONS:
            self.add_module(name, nn.Conv3d(channels_in, channels_out, 3, padding=1))
        self.fc6 = nn.Linear(512 * 4 * 4, width)
        self.fc7 = nn.Linear(width, width)
        self.fc8 = nn.Linear(width, classes)

    def forward(self, clips: Tensor) -> Tensor:
        """The features: fc6 after its ReLU. fc7 and fc8 are there for the weights only."""
        values = clips
        for name, _, _, pooling in CONVOLUTIONS:
            values = self.get_submodule(name)(values).relu()
            if pooling:
                # 7 x 7 places become 4 x 4: the last pooling reaches over the border.
                padding = (0, 1, 1) if name == "conv5b" else 0
                values = nn.functional.max_pool3d(values, pooling, padding=padding)
        found: Tensor = self.fc6(torch.flatten(values, 1)).relu()
        return found
