import json

import pytest

from ct_vae.config.model import ModelConfig
from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.reporting.run_summary import summarize_run, summary_lines
from ct_vae.training.reporting.trial import Trial
from tests._small import SMALL_CODES, SMALL_MODEL, small_model


def config(model: ModelConfig = SMALL_MODEL, **training) -> RunConfig:
    settings = {"samples": 1000, "batch_size": 12, "patch_size": (16, 16, 16), **training}
    return RunConfig(model=model, training=TrainingConfig(**settings))


def line(plan, name):
    return next(text for text in summary_lines(plan) if text.startswith(name))


def test_numbers_are_those_of_the_model():
    plan = summarize_run(config(), (5, 2))
    assert plan.parameters == sum(p.numel() for p in small_model().parameters())
    assert plan.latent == (4, 4, 4, 4)
    assert plan.compression == 16
    assert plan.bits_per_voxel == 1
    assert plan.memory_bytes == sum(plan.memory.values()) > 6 * 4 * plan.parameters


@pytest.mark.parametrize(
    ("ranks", "micro", "at_once", "turns", "told"),
    [
        (1, None, 12, 1, "12 patches, "),
        (1, 5, 5, 3, "12 patches: 3 micro-batches of 5, "),
        (3, None, 4, 1, "12 patches: 3 ranks of 4, "),
        (3, 2, 2, 2, "12 patches: 3 ranks x 2 micro-batches of 2, "),
        (4, 8, 3, 1, "12 patches: 4 ranks of 3, "),
    ],
)
def test_a_batch_is_shared_over_ranks_and_micro_batches(ranks, micro, at_once, turns, told):
    plan = summarize_run(
        config(micro_batch_size=micro), (5, 2), world=DistributedContext(size=ranks)
    )
    assert (plan.micro_batch, plan.micro_batches) == (at_once, turns)
    assert f"  {told}" in line(plan, "step")
    assert ("on each rank" in line(plan, "memory")) == (ranks > 1)


def test_steps_are_those_that_are_left_and_time_follows():
    trial = Trial(2.0, 3 * 2**30, 1.5, 4.0, 7)
    plan = summarize_run(config(), (5, 2), start=500, trial=trial)
    assert plan.steps == 42
    assert plan.seconds == 84
    assert summarize_run(config(), (5, 2)).steps == 84
    assert "42 steps to 1000 samples, of which 500 are done" in line(plan, "run")
    assert "about 1 min at 2 s per step (median of 7, 1.5 to 4 s)" in line(plan, "time")
    assert "a measured step took 3.0 GiB" in line(plan, "memory")


def test_without_a_trial_no_time_is_told():
    plan = summarize_run(config(), (5, 2))
    assert plan.seconds is None
    assert "unknown" in line(plan, "time")
    assert "measured" not in line(plan, "memory")
    assert "about 28 MiB (weights 0.2 MiB, " in line(plan, "memory")


def test_a_discriminator_is_told_where_there_is_one():
    assert "discriminator" not in line(summarize_run(config(), (5, 2)), "model")
    plan = summarize_run(config(adversarial_weight=0.1, adversarial_start_samples=0), (5, 2))
    assert "; discriminator," in line(plan, "model")


@pytest.mark.parametrize("kind", ["vq", "magvit"])
def test_models_with_codes_have_plans_too(kind):
    plan = summarize_run(config(SMALL_CODES[kind]), (5, 2))
    assert plan.compression == 64
    assert line(plan, "model").split()[1].startswith(kind)


def test_a_plan_is_json_and_lines_are_short_facts():
    plan = summarize_run(config(), (5, 2), precision="bf16", trial=Trial(0.5, None, 0.4, 0.6, 3))
    told = json.loads(json.dumps(plan.as_dict()))
    assert told["steps"] == 84
    assert told["seconds"] == 42
    assert told["trial"]["seconds"] == 0.5
    lines = summary_lines(plan)
    names = ["model", "latent", "compression", "cases", "step", "run", "memory", "time"]
    assert [text.split()[0] for text in lines] == names
    assert "computed in bf16" in lines[4]
    assert "5 for training, 2 for validation" in lines[3]


def test_ranks_on_one_machine_share_its_memory(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    plan = summarize_run(config(), (5, 2), world=DistributedContext(size=6))
    total = 4 * plan.memory_bytes / 2**20
    assert f"; {total:.0f} MiB for the 4 ranks on this machine" in line(plan, "memory")
    assert "this machine" not in line(summarize_run(config(), (5, 2)), "memory")


def test_processes_that_prepare_patches_are_told_if_there_are_any():
    def step(workers):
        changed = config().training.model_copy(update={"workers": workers})
        plan = summarize_run(config().model_copy(update={"training": changed}), (5, 2))
        return next(line for line in summary_lines(plan) if line.startswith("step"))

    assert step(7).endswith("; patches are prepared by 7 processes")
    assert "process" not in step(0)
