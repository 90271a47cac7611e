"""What happened while runs were trained, in sentences."""

import math

from vaelab.report.record import Record
from vaelab.report.records import Line

LEAST_RISE = 0.03  # of what the validation loss fell by before, from which it has risen
MOST_FINDINGS = 40  # sentences on single runs of one line
EARLY = 0.8  # of all epochs


def training_sentences(line: Line) -> list[str]:
    """Where training went too far, and what was found of the samples, for each run of an AE or VAE."""
    sentences = []
    runs = [record for record in line.records if record.is_evaluated]
    for record in runs:
        parts = [f"λ = {record.kl_weight:g}"] if line.has_several_weights else []
        parts += [f"seed {record.seed}"] if len({str(r.seed) for r in runs}) > 1 else []
        found = [*_too_long(record)]
        found += [s for name in ("diversity", "nearest_neighbours") for s in record.findings.get(name, ())]
        who = ", ".join(parts)
        sentences += [f"{who}: {s.removesuffix('.')}." if who else _sentence(s) for s in found]
    more = len(sentences) - MOST_FINDINGS
    return (
        [*sentences[:MOST_FINDINGS], f"{more} more of this kind are in each run's findings."]
        if more > 0
        else sentences
    )


def _too_long(record: Record) -> list[str]:
    """Whether the validation loss rose while the training loss still fell."""
    train, val = (dict(zip(*record.curve("loss", split)[::2], strict=True)) for split in ("train", "val"))
    # While λ is warmed up, losses of different epochs are different sums.
    if len(set(record.curve("kl_weight", "train")[2])) > 1 or len(val) < 4:
        return []
    best, last = min(val, key=lambda epoch: val[epoch]), max(val)
    least = min(val[epoch] for epoch in sorted(val)[-3:])
    rose = least - val[best] > LEAST_RISE * (val[min(val)] - val[best])
    if not rose or best > EARLY * last or train.get(last, math.inf) >= train.get(best, -math.inf):
        return []
    return [
        f"the validation loss was lowest after epoch {best:g} of {last:g} ({val[best]:.5g}; {val[last]:.5g} at the end)"
        " while the training loss still fell: a sign of overfitting"
    ]


def gan_sentences(line: Line) -> list[str]:
    """How the game ended, what was found, and what a GAN has no number of."""
    sentences = []
    for record in (r for r in line.records if r.is_evaluated):
        seed = f"Seed {record.seed}: " if len(line.records) > 1 else ""
        losses = [record.curve(f"loss_{player}", "train")[2] for player in ("discriminator", "generator")]
        told = [record.curve(f"accuracy_{kind}", "train")[2] for kind in ("real", "fake")]
        if all(losses) and all(told):
            sentences.append(
                f"{seed}In the last epoch the discriminator's loss was {losses[0][-1]:.3g} and the generator's"
                f" {losses[1][-1]:.3g} nats per image; the discriminator was right on {told[0][-1]:.0%} of the real and"
                f" on {told[1][-1]:.0%} of the generated images."
            )
        sentences += [f"{seed}{_sentence(s)}" for found in record.findings.values() for s in found]
    return [
        *sentences,
        "It has no encoder, so no reconstructions, no rate and no ELBO; its samples are compared below.",
    ]


def _sentence(text: str) -> str:
    """A finding as a sentence."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
