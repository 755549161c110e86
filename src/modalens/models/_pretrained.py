"""What a transformer of several modalities takes over from the trained transformers of one."""

from torch import nn

from modalens.models._base import Model
from modalens.models._through import Through
from modalens.utils.errors import UserError

SAME = ("width", "layers", "heads")  # options that decide what an encoder's parameters mean


def take_over(model: Model) -> None:
    """Copy each teacher's transformer to its modality in model, with the encoder that it has learnt through, and its
    head where model has one head a modality.

    Source: the BalanceMLA paper, section 4.1.2: unimodal models first, then fine-tuning from them. Raises UserError for
    a teacher that is not a transformer of one of model's modalities, of the same sizes.
    """
    for name, teacher in model.teachers.items():
        where = f"models.{model.name}: the teacher {name!r}"
        modality = teacher.modalities[0]
        if len(teacher.modalities) > 1 or modality not in model.networks:
            raise UserError(f"{where} looks at {', '.join(teacher.modalities)}; name transformers of one modality")
        for option in SAME:
            if teacher.options.get(option) != model.options[option]:
                found = teacher.options.get(option, "no transformer's")
                raise UserError(f"{where} has {option} {found}, not {model.options[option]}; give both the same")
        _take_encoder(model, teacher, modality, where)
        model.networks[modality].load_state_dict(teacher.networks[modality].state_dict())
        if isinstance(model.head, nn.ModuleDict) and modality in model.head:
            if (hidden := list(teacher.options["hidden"])) != list(model.options["hidden"]):
                raise UserError(f"{where} has hidden {hidden}, not {list(model.options['hidden'])}; give both the same")
            model.head[modality].load_state_dict(teacher.head.state_dict())


def _take_encoder(model: Model, teacher: Model, modality: str, where: str) -> None:
    """What a teacher has learnt to read is what its transformer understands."""
    theirs, own = teacher.normalizers[modality], model.normalizers[modality]
    if not isinstance(theirs, Through) or theirs.network is None:
        return
    if not isinstance(own, Through) or own.network is None:
        raise UserError(
            f"{where} has learnt the encoder of {modality}; expected training.encoders.{modality} to learn it"
        )
    if (theirs.learnt.encoder, theirs.learnt.options) != (own.learnt.encoder, own.learnt.options):
        raise UserError(f"{where} has learnt another encoder of {modality}; give both the same")
    own.load_state_dict(theirs.state_dict())
