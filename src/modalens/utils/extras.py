"""Which extra of this package brings a module that is not installed."""

from modalens.utils.errors import UserError

# Module -> extra; a test holds it against pyproject.toml. What several extras bring is asked for with `all`.
EXTRAS = {
    "PIL": "all",
    "altair": "report",
    "av": "media",
    "decord": "media",
    "h5py": "all",
    "imageio_ffmpeg": "media",
    "jinja2": "report",
    "jsonschema": "workflow",
    "mlflow": "workflow",
    "open_clip": "encoders",
    "safetensors": "encoders",
    "sklearn": "all",
    "snakemake": "workflow",
    "timm": "encoders",
    "torch": "torch",
    "torchaudio": "torch",
    "torchvision": "torch",
    "tqdm": "all",
    "transformers": "encoders",
    "vl_convert": "report",
    "yaml": "all",
    "yt_dlp": "media",
}


def not_installed(error: ModuleNotFoundError, what: str, extra: str = "") -> UserError:
    """The line for a user who asked for `what`. extra: all that it needs, where that is known.

    Raises the error itself where no extra brings the module: that is a mistake of ours.
    """
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        raise error
    return UserError(
        f"{what} needs {module}, which is not installed: in a checkout of modalens, "
        f"pip install '.[{extra or EXTRAS[module]}]'"
    )
