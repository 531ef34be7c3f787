"""What notebooks say of their numbers, checked on what they print."""

import re


def numbers(printed, start):
    """The numbers of the line that begins so."""
    (line,) = [line for line in printed.splitlines() if line.startswith(start)]
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", line[len(start) :])]


def several_networks(printed):
    """All ten digits are drawn; teaching helps, by a teacher and without labels."""
    counts = numbers(printed, "drawn of each digit:")
    assert len(counts) == 10
    assert sum(counts) == 1000
    assert min(counts) >= 30
    (agreed,) = numbers(printed, "votes that agree:")
    assert agreed > 0.8
    early, late = numbers(printed, "gap after ")[1::2]
    assert 0 < late < 0.8 * early

    (teacher,) = numbers(printed, "teacher:")
    alone, _ = numbers(printed, "student alone:")
    taught, _ = numbers(printed, "student taught:")
    gain, smallest, largest = numbers(printed, "gain:")
    assert alone + 0.03 < taught < teacher
    assert abs(gain - (taught - alone)) < 0.0015  # each is rounded
    assert smallest < gain < largest
    rising, lines = numbers(printed, "lines that rise:")
    assert rising >= 5
    assert lines == 6
    low, high = numbers(printed, "gain of the three lowest:")
    assert low > high

    (trained, pixels, drawn) = (
        numbers(printed, name)[::2]  # means, and after each its spread
        for name in ("trained without labels", "pixels", "random encoder")
    )
    assert len(trained) == len(pixels) == len(drawn) == 6
    assert all(t > p > d for t, p, d in zip(trained, pixels, drawn, strict=True))
    assert trained[0] - pixels[0] > trained[-1] - pixels[-1]


OF = {"several_networks": several_networks}
