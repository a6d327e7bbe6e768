"""What can go wrong on a device although the input was fine."""


class DeviceError(RuntimeError):
    """The device, or the program on it, did not do what was asked; the message says what and what to do."""


class DeviceLostError(DeviceError):
    """The device cannot be reached, or disappeared while it was in use."""
