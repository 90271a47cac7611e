"""What run folders of older versions say otherwise: the only place that knows how configurations used to be written."""

from collections.abc import Mapping
from typing import Any

FAMILIES = ("AE", "VAE", "GAN")
# Keys by group: what is fetched is no setting, and how many runs are trained at once is none of a run.
GONE = {"dataset": ("url", "blob_id"), "trainer": ("max_members",)}
# What was not said because there was nothing else.
THEN: dict[str, Any] = {
    "kl_weight_at": 1.0,
    "kl_weight_range": [0.01, 100.0],
    "kl_weight_unit": "nats",
    "lr_schedule": "constant",
    "lr_step_epochs": 10,
    "lr_step_factor": 0.1,
    "trainer": {"keep": "last"},
}
BUILT_THEN: dict[str, dict[str, Any]] = {
    "vaelab.evaluations.TestMetrics": {"splits": ["test"], "verify": True},
    "vaelab.models.fc_vae": {"activation": "relu"},
}
# Likelihoods as a loss named them when they were keys of its own.
LIKELIHOODS = {"bernoulli": "Bernoulli", "gaussian": "Gaussian", "gaussian_learned": "GaussianLearned"}


def config(values: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration as this version would have written it."""
    adapted = dict(values)
    for group, keys in GONE.items():
        if isinstance(adapted.get(group), Mapping):
            adapted[group] = {key: value for key, value in adapted[group].items() if key not in keys}
    if isinstance(adapted.get("loss"), Mapping) and "likelihood" in adapted["loss"]:
        adapted |= _parts(adapted["loss"])
    if isinstance(adapted.get("evaluation"), Mapping):
        adapted["evaluation"] = {name: _built(one) for name, one in adapted["evaluation"].items()}
    adapted |= {"model": _built(adapted["model"])} if "model" in adapted else {}
    return _filled(THEN, adapted)


def family(info: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What run.json calls the model, or would have called it."""
    model = info.get("model")
    model = model if isinstance(model, Mapping) else {}
    if model.get("family") in FAMILIES:
        return str(model["family"])
    if str(config["loss"]["_target_"]).endswith("Adversarial"):
        return "GAN"
    has_weight = "kl_weight" in (config.get("regulariser") or config["loss"])
    return "VAE" if has_weight or model.get("prior") else "AE"


def _parts(loss: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a loss that held them all."""
    name = str(loss.get("likelihood"))
    likelihood = {"_target_": f"vaelab.losses.likelihoods.{LIKELIHOODS.get(name, name)}"}
    if name == "gaussian":
        likelihood["sigma"] = loss.get("sigma", 1.0)
    own = {key: value for key, value in loss.items() if key in ("_target_", "reduction")}
    if "kl_weight" not in loss:
        return {"likelihood": likelihood, "loss": own}
    regulariser = {
        "_target_": "vaelab.losses.regularisers.KL",
        "kl_weight": loss["kl_weight"],
        "schedule": loss.get("kl_schedule", "constant"),
        "schedule_epochs": loss.get("kl_schedule_epochs", 10),
        "free_bits": None,
        "capacity": None,
        "capacity_epochs": 10,
        "target": None,
    }
    return {"likelihood": likelihood, "regulariser": regulariser, "loss": own}


def _built(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    return {**BUILT_THEN.get(str(part.get("_target_")), {}), **part}


def _filled(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values and, inside of the mappings that are there, what they do not say."""
    filled = {key: value for key, value in defaults.items() if not isinstance(value, Mapping)} | dict(values)
    for key, default in defaults.items():
        if isinstance(default, Mapping) and isinstance(values.get(key), Mapping):
            filled[key] = _filled(default, values[key])
    return filled
