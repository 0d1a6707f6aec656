"""A device class as the fleet may see it: words of makers and chips as they are, all others as a digest. Pure.

A class is made of what the firmware calls the machine. Most firmwares name a model; some let an owner write what they
like, and "Ward 3, Mrs Smith's tablet" must not go to a server. A class with a word that is not known here keeps its
known words and gets a digest for the rest, so that classes that differ still differ.
"""

from __future__ import annotations

import hashlib
import re

_WORDS = """
x86_64 aarch64 armv7l riscv64 arm cpu processor family model rev with and graphics
intel xeon core atom celeron pentium gold silver platinum bronze ultra amd epyc ryzen athlon pro threadripper
embedded radeon neoverse cortex nvidia jetson orin nano agx xavier nx carmel tegra developer kit super engineering
reference raspberry pi b compute zero plus rockchip radxa rock orange banana odroid hardkernel khadas vim pine64
allwinner amlogic mediatek genio qualcomm snapdragon samsung exynos google tensor apple broadcom nxp imx ti
microsoft surface lenovo thinkpad dell latitude hp elitebook panasonic toughbook toughpad virtual machine qemu kvm
emulated
"""
KNOWN = frozenset(_WORDS.split())
# i5, n100, a78ae, 4, 8gb, v1, e5, 7430u: short, with at most five digits. A hospital's numbers are longer.
_CHIP = re.compile(r"[a-z]{0,2}\d{1,5}[a-z]{0,3}\d?")


def public_class(device_class: str) -> str:
    """The slug to send. A class of known words and chips' numbers is unchanged."""
    words = device_class.split("-")
    if all(word in KNOWN or _CHIP.fullmatch(word) for word in words):
        return device_class
    digest = hashlib.sha256(device_class.encode()).hexdigest()[:8]
    return "-".join([*(word for word in words[:8] if word in KNOWN), f"x{digest}"])
