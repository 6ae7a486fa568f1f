"""A stand-in for /sys/bus/pci/devices: some GPUs, and a network card that is none."""


def device(address: str, vendor: str, number: str, kind: str) -> str:
    folder = f"/opt/testbed/pci/{address}"
    files = {"vendor": vendor, "device": number, "class": kind}
    return f"mkdir -p {folder}\n" + "".join(f"echo {text} > {folder}/{name}\n" for name, text in files.items())


def view(gpus: int) -> str:
    """The shell script that makes it on a host."""
    h100, ethernet = ("0x10de", "0x2330", "0x030200"), ("0x8086", "0x1521", "0x020000")
    return device("0000:01:00.0", *ethernet) + "".join(device(f"0000:{16 + i:02x}:00.0", *h100) for i in range(gpus))
