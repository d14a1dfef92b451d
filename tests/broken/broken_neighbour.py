"""What stands beside the others."""

from broken_components import SoundDetector


class Neighbour(SoundDetector):
    pass
