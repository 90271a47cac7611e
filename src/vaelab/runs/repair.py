"""What a run folder mends from its own checkpoints."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from vaelab import UsageError, files
from vaelab.runs import checkpoint
from vaelab.runs.folder import LAST, PREVIOUS, Run
from vaelab.runs.history import Row

if TYPE_CHECKING:
    from torch import Tensor


def restore_checkpoint(run: Run) -> None:
    """Puts the previous checkpoint in the place of a last one that is damaged, and says so.

    Raises UsageError where there is no sound one left.
    """
    damaged = []
    for name in (LAST, PREVIOUS):
        file = run.folder / name
        try:
            found = checkpoint.read_state(file)
        except FileNotFoundError:
            continue
        except checkpoint.Damaged as reason:
            damaged.append(f"{file} is damaged ({reason})")
            continue
        if damaged:
            run.log(f"{damaged[0]}: goes on from the checkpoint before (epoch {found.facts['epoch']})")
        if name == PREVIOUS:
            files.replace(file, run.folder / LAST)
        return
    if damaged:
        raise UsageError(
            f"{' and '.join(damaged)}, and there is no other checkpoint: "
            f"delete {(run.folder / LAST).parent} and give the command again, which begins anew"
        )


def mend(run: Run) -> None:
    """Writes damaged weights and history of a trained run again from its last checkpoint, and says so.

    Damaged metrics make way for those that are measured next. Raises UsageError where no checkpoint helps.
    """
    weights, rows = _trained(run)
    _written_again(run, "model.safetensors", run.load_weights, weights and partial(run.save_weights, weights))
    if "foreign" not in run.info:  # which was not trained here
        _written_again(run, "metrics.csv", partial(_history, run), rows and partial(run.write_history, rows))
    try:
        _ = run.metrics
    except UsageError as error:
        (run.folder / "evaluation" / "metrics.json").unlink()
        run.log(str(error).partition(": ")[0] + ": its numbers are measured anew")


def _trained(run: Run) -> "tuple[dict[str, Tensor], list[Row]]":
    """Weights and history of the last epoch as the checkpoint has them; nothing where it has not."""
    with suppress(checkpoint.Damaged):
        last = run.load_checkpoint()
        told = run.info.get("training", {})
        if last and last.facts["epoch"] == told.get("epochs", run.config.epochs):
            return checkpoint.final_weights(last.tensors), last.rows or []
    return {}, []


def _written_again(run: Run, name: str, read: Callable[[], Any], write: Callable[[], Any] | Any) -> None:
    file = run.folder / name
    try:
        read()
    except UsageError:
        if not write and not file.exists():
            raise
        if not write:
            raise UsageError(
                f"{file} is damaged, and no checkpoint of the last epoch is left: train the run again with rerun=true"
            ) from None
        write()
        run.log(f"{file} was damaged: written again from the last checkpoint")


def _history(run: Run) -> None:
    if not run.history:
        raise UsageError(f"{run.folder / 'metrics.csv'} is empty: train the run again with rerun=true")
