"""The table METHODS of all compression methods by name. A new method is one file and one line here."""

from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.dynamic import Dynamic
from dycoke_cli.methods.evs import Evs
from dycoke_cli.methods.fastv import Fastv
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.holitom import Holitom
from dycoke_cli.methods.kmeans import Kmeans
from dycoke_cli.methods.protocol import Method
from dycoke_cli.methods.prumerge import Prumerge
from dycoke_cli.methods.random import Random
from dycoke_cli.methods.uniform import Uniform
from dycoke_cli.methods.vidcom2 import Vidcom2
from dycoke_cli.methods.visionzip import Visionzip

METHODS: dict[str, type[Method]] = {
    "dycoke": Dycoke,
    "dynamic": Dynamic,
    "evs": Evs,
    "fastv": Fastv,
    "full": Full,
    "holitom": Holitom,
    "kmeans": Kmeans,
    "prumerge": Prumerge,
    "random": Random,
    "uniform": Uniform,
    "vidcom2": Vidcom2,
    "visionzip": Visionzip,
}
