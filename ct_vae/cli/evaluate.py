"""``ct-vae evaluate``: errors in HU, beside those of what needs no network."""

from __future__ import annotations

import typer

from ct_vae.cli import measuring, options
from ct_vae.cli.batch import find_cases, output_folder, work_through


def evaluate(  # noqa: PLR0913, PLR0917 - one parameter per option
    model: options.Model,
    output: options.Output,
    inputs: measuring.OptionalInputs = [],  # noqa: B006 - typer reads it and never changes it
    phantom: measuring.Phantom = False,
    windows: measuring.Windows = [],  # noqa: B006 - typer reads it and never changes it
    metrics: measuring.Metrics = "",
    protocol: measuring.Protocol = None,
    masks: measuring.MaskFiles = [],  # noqa: B006 - typer reads it and never changes it
    labels: measuring.Labels = None,
    label_names: measuring.LabelNames = None,
    write_masks: measuring.WriteMasks = False,
    datalist: measuring.Datalist = None,
    panels: measuring.Panels = True,
    report: measuring.Report = True,
    full: measuring.Full = False,
    device: options.Device = None,
    tiling: options.TilingMethod = None,
    tile: options.Tile = None,
    overlap: options.Overlap = None,
    max_memory_gb: options.MaxMemory = None,
    verbose: options.Verbose = False,
    frame: options.Frame = None,
    nan: options.Nan = "refuse",
    hu_offset: options.HuOffset = 0.0,
    assume_ras: options.AssumeRas = False,
    force: options.Force = False,
    assume_hu: options.AssumeHu = False,
    resample_irregular: options.ResampleIrregular = False,
) -> None:
    """Encode, decode and measure volumes, inside the body and in clinical windows.

    Beside the reconstruction stand what the model's preprocessing alone gives, cubic resampling
    with the same number of values as the latent, JPEG 2000 at the same bits per voxel, and the
    constant that fits best. With --phantom drawn objects of known size and HU go through the model
    too, and need no INPUT. Cases are numbered in the results, so that no name gets out; the
    terminal shows which is which.
    """
    from dataclasses import asdict

    from ct_vae.evaluation.case import evaluate_case
    from ct_vae.evaluation.patients import unit_of
    from ct_vae.evaluation.probe.run import run_probe
    from ct_vae.evaluation.results import Results
    from ct_vae.io.discover import Case

    folder = output_folder(output)
    reading = options.read_options(
        frame, nan, hu_offset, assume_ras, force, assume_hu, resample_irregular
    )
    planned = measuring.plan_of(windows, metrics, protocol)
    cases = find_cases(inputs, unique=False) if inputs or not phantom else []
    settings = measuring.settings_of(
        planned,
        measuring.given_masks(masks, labels, label_names, len(cases)),
        panels=panels,
        report=report,
        full=full,
        keep_masks=write_masks,
    )
    patients = measuring.patients_of(datalist)
    codec = options.load_codec_with(
        model, device, tiling, tile, overlap, max_memory_gb, verbose=verbose
    )
    facts = {
        "command": "evaluate",
        "name": codec.identity.name,
        "model_sha256": codec.identity.sha256,
        "latent_type": codec.identity.latent_type,
        "device": str(codec.network.device),
        "tiling": asdict(codec.tiling),
        "read_options": asdict(reading),
    }
    results = Results(folder, settings, facts)
    names = {case: f"case_{place:04d}" for place, case in enumerate(cases, start=1)}

    def work(case: Case) -> str:
        name = names[case]
        original = case.read(reading)
        used = results.masks(original, case.key, reading)
        found = evaluate_case(codec, original, name, settings.plan, used)
        results.add(
            name,
            (original, found.reconstruction),
            used,
            found.rows,
            patient=unit_of(case.path, name, patients),
            line=found.line(),
            notes=found.notes,
        )
        bits = found.compression.bits_per_voxel
        return f"{case.path} is {name}: {bits:.3g} bits per voxel in {found.seconds:.1f} s"

    code = work_through(cases, work, "evaluate", folder)
    if results.rows:
        measuring.show(results.rows)
    results.finish(run_probe(codec).as_dict() if phantom else None)
    raise typer.Exit(code)
