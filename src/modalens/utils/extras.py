"""Which extra of this package brings a module that is not installed."""

from modalens.utils.errors import UserError

# Module -> extra; a test holds it against pyproject.toml. Of several extras that bring a module, the smallest.
EXTRAS = {
    "PIL": "report",
    "av": "media",
    "decord": "media",
    "h5py": "report",
    "imageio_ffmpeg": "media",
    "jinja2": "report",
    "jsonschema": "workflow",
    "markupsafe": "report",
    "matplotlib": "report",
    "mlflow": "workflow",
    "snakemake": "workflow",
    "torch": "torch",
    "torchaudio": "torch",
    "torchvision": "torch",
    "tqdm": "media",
    "yaml": "report",
    "yt_dlp": "media",
}


def not_installed(error: ModuleNotFoundError, what: str) -> UserError:
    """The line for a user who asked for `what`. Raises the error itself where no extra brings the module."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        raise error
    extra = EXTRAS[module]
    return UserError(f"{what} needs {module}, which is not installed: pip install 'modalens[{extra}]'")
