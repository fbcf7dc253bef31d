"""Estimate of a captioning run: videos, token counts, batch size and memory, without captioning."""

from dataclasses import dataclass, replace

from dycoke_cli.captioning.captioner import USEFUL_ROWS, Captioner
from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.plan import Plan
from dycoke_cli.models.families.family import HD
from dycoke_cli.session.frame_request import sampling_of
from dycoke_cli.system.device import choose_device, choose_dtype
from dycoke_cli.system.free_memory import free_bytes


@dataclass(frozen=True)
class Estimate:
    """Size of a run. Counts are exact for videos with enough frames and an upper bound for shorter ones.

    Memory is computed, not measured. Where the size of frames matters, HD frames are assumed.
    """

    todo: tuple[str, ...]  # ids of the videos to caption
    kept: int  # records that are still valid
    changed: int  # videos whose earlier caption is out of date
    put_off: int  # videos excluded by --limit
    frames: int  # of each video, at most
    visual_tokens: int  # of these frames, before any compression
    prompt_tokens: int  # that enter the language model, text included
    batch: int  # videos that run together
    weights_bytes: int
    row_bytes: int  # that each video of a batch adds
    total_bytes: int  # with a full batch, weights included
    free_bytes: int  # of the device, now


def estimate_of(job: Job, plan: Plan) -> Estimate:
    """Estimate a plan. The model is loaded on the CPU, in the dtype that the run would use."""
    settings = job.settings
    device = choose_device(settings.device)
    dtype = str(choose_dtype(settings.dtype, device)).removeprefix("torch.")
    on_cpu = settings.model_copy(update={"device": "cpu", "dtype": dtype})
    captioner = Captioner(replace(job, settings=on_cpu))
    sampling = sampling_of(settings, job.default_frames)
    frames = sampling.frames or sampling.max_frames or job.default_frames
    model = captioner.model
    footprint = captioner.session.footprint(frames, job.questions[0])
    free = free_bytes(device)
    fit = footprint.rows(free - (0 if device.type == "cpu" else model.weight_bytes))
    batch = (job.batch or min(USEFUL_ROWS[device.type], fit)) if job.captioned else 1
    config = model.language_model.body.config
    return Estimate(
        todo=tuple(item.id for item in plan.todo),
        kept=len(plan.kept),
        changed=plan.changed,
        put_off=plan.put_off,
        frames=frames,
        visual_tokens=model.grid(frames, HD).total,
        prompt_tokens=footprint.prompt // (config.hidden_size * model.language_model.dtype.itemsize),
        batch=batch,
        weights_bytes=model.weight_bytes,
        row_bytes=footprint.row,
        total_bytes=model.weight_bytes + footprint.row * batch + footprint.shared,
        free_bytes=free,
    )
