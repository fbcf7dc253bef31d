"""Check torch, the GPU, torchvision, and an answer of the bundled model. Run by `worker.py`."""

import shutil
import subprocess
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from packaging.requirements import Requirement

from dycoke_cli.doctor.result import CheckResult, ok
from dycoke_cli.errors import ModelError
from dycoke_cli.models import loading
from dycoke_cli.video import bundled_clips

LOW_VRAM = 2 * 2**30  # bytes: with less, hardly any model fits
NVIDIA_SMI_LIMIT_S = 10.0  # it hangs if the driver hangs


@dataclass(frozen=True)
class Card:
    """A GPU that torch lists; `trouble`: why a computation on it failed, empty if it succeeded."""

    name: str
    free_bytes: int
    total_bytes: int
    trouble: str = ""


def check_torch() -> CheckResult:
    """Import torch and multiply two matrices."""
    import torch

    found = float((torch.ones(8, 8) @ torch.ones(8, 8)).sum())
    facts = {"version": torch.__version__, "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
    if found != 512:
        return CheckResult("torch", "broken", f"torch {torch.__version__} computes wrongly", "Install it again", facts)
    return ok("torch", f"torch {torch.__version__}, {torch.get_num_threads()} threads", **facts)


def check_cuda() -> CheckResult:
    """Query the driver and torch for GPUs, and run a computation on each."""
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cards = [_card(number) for number in range(count)]
    torch_warning = str(caught[0].message).strip().splitlines()[0] if caught else ""
    return judge_cuda(torch.version.cuda or torch.version.hip, _driver(), cards, torch_warning)


def judge_cuda(built_for: str | None, driver: str | None, cards: list[Card], torch_warning: str = "") -> CheckResult:
    """Return the result for the GPUs that were found.

    built_for: the CUDA version that torch was built for, None for a CPU build. driver: its version, None without one.
    torch_warning: torch's message when it found no GPU.
    """
    facts: Mapping[str, Any] = {"built_for": built_for, "driver": driver, "devices": [vars(card) for card in cards]}
    under = f"driver {driver}" if driver else "no driver found"
    message = "; ".join(f"{c.name}, {c.free_bytes / 1e9:.1f} of {c.total_bytes / 1e9:.1f} GB free" for c in cards)
    message += f" (CUDA {built_for}, {under})"
    for number, card in enumerate(cards):
        if card.trouble:
            remedy = "Install the torch build for this card and driver, see pytorch.org; or use --device cpu"
            return CheckResult("cuda", "broken", f"cuda:{number} ({card.name}) fails: {card.trouble}", remedy, facts)
    if cards and max(card.free_bytes for card in cards) < LOW_VRAM:
        return CheckResult("cuda", "warning", message, "End what else uses the GPU (see nvidia-smi)", facts)
    if cards:
        return ok("cuda", message, **facts)
    if driver is None:
        return ok("cuda", "no NVIDIA driver; models run on the CPU", **facts)
    if built_for is None:
        remedy = "Install the CUDA build, see pytorch.org"
        return CheckResult("cuda", "warning", f"{under}, but this torch is built for CPUs", remedy, facts)
    remedy = "Update the driver, or install a torch build for an older CUDA; is CUDA_VISIBLE_DEVICES set?"
    message = ": ".join(filter(None, [f"{under}, but torch for CUDA {built_for} finds no GPU", torch_warning]))
    return CheckResult("cuda", "warning", message, remedy, facts)


def check_torchvision() -> CheckResult:
    """Import torchvision if it is installed, and compare the torch that it was built for with the installed one."""
    try:
        loading.refuse_broken_torchvision()
        found = version("torchvision")
    except ModelError as error:
        return CheckResult("torchvision", "broken", error.message, error.remedy)
    except PackageNotFoundError:
        return ok("torchvision", "not installed, and not needed")
    import torch

    wanted = [Requirement(text) for text in requires("torchvision") or []]
    for requirement in wanted:
        if requirement.name == "torch" and not requirement.specifier.contains(torch.__version__, prereleases=True):
            message = f"torchvision {found} was built for torch {requirement.specifier}, not {torch.__version__}"
            return CheckResult("torchvision", "warning", message, "dycoke does not need it: pip uninstall torchvision")
    return ok("torchvision", f"torchvision {found}", version=found)


def check_model(device: str = "auto") -> CheckResult:
    """Ask the bundled model a question whose answer is known."""
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.evaluation.question_file import read_questions
    from dycoke_cli.session.ask import ask

    settings = Settings.model_validate({"model": "demo", "device": device})
    known = read_questions(bundled_clips.QUESTIONS)[0]
    outcome = ask(str(known.path), [known.text], settings)
    answer, where = outcome.answers[0].answer, f"{outcome.model['dtype']} on {outcome.model['device']}"
    facts = {"question": known.text, "answer": answer, "expected": known.expected[0], **outcome.model}
    if not known.judge(answer):
        message = f"asked {known.text!r} the demo answers {answer!r}, not {known.expected[0]!r} ({where})"
        remedy = "Install dycoke again; if that does not help, report this with --json"
        return CheckResult("model", "broken", message, remedy, facts)
    return ok("model", f"{known.text} {answer} ({where})", **facts)


def _card(number: int) -> Card:
    """Query the memory of a GPU and run a computation on it."""
    import torch

    facts = torch.cuda.get_device_properties(number)
    try:
        free, total = torch.cuda.mem_get_info(number)
        ones = torch.ones(64, 64, device=f"cuda:{number}")
        trouble = "" if float((ones @ ones).sum()) == 64**3 else "it computes wrongly"
    except torch.OutOfMemoryError:  # other processes use all of it, which is not a defect
        return Card(facts.name, 0, facts.total_memory)
    except RuntimeError as error:  # torch raises it for a card that it does not support
        return Card(facts.name, 0, facts.total_memory, str(error).strip().splitlines()[0])
    return Card(facts.name, free, total, trouble)


def _driver() -> str | None:
    """Return the version of the driver that nvidia-smi prints; None without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NVIDIA_SMI_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.split()
    return lines[0] if done.returncode == 0 and lines else None
