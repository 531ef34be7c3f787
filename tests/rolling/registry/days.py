"""Versions, blessings and days of a registry, for its tests. Nothing here needs TensorFlow."""

from keras_trainsteps.rolling.registry.blessing import Blessing, Check

PASSED = Check("rows", True, 1.0, "above 0")
FAILED = Check("ndcg", False, -0.1, "above 0")


def publish(registry, text="weights", **about):
    """Publishes a version of one file."""

    def write(stage):
        (stage / "data").mkdir()
        (stage / "data" / "weights.bin").write_text(text * 100)

    return registry.publish(write, fingerprint=text, **about)


def bless(registry, number, *checks):
    """A blessing of a version against the present champion."""
    champion = registry.aliases().get("champion")
    against = None if champion is None else registry.get(champion).fingerprint
    return Blessing(registry.get(number).fingerprint, against, checks or (PASSED,), 5)


def folder_publish(registry, number):
    """Publishes a version of three files in two folders."""

    def write(stage):
        (stage / "folder").mkdir()
        for name in ("a", "b", "folder/c"):
            (stage / name).write_bytes(f"{number}:{name}".encode() * 1000)

    return registry.publish(write, fingerprint=f"print-{number}")


def daily(registry):
    """A day: publish, challenge, promote, delete what is old."""
    number = folder_publish(registry, len(registry.versions()) + 1)
    registry.set_alias("challenger", number)
    registry.save_blessing(number, bless(registry, number))
    registry.promote(number, registry.blessing(number))
    registry.retain(2)
